"""Train a classifier on features and labels, and validate it on samples it has not seen.

Kind, strength of regularization and temperature are chosen by an inner cross-validation on the
training data. The outer cross-validation repeats this choice in each of its folds. Samples of one
group (windows of a track, tracks of a cell) are never in two folds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.fingerprint.classifier_graph import Layer, Scaling, fit_scaling, scaled, scores
from livespt.models.motion.calibration import ece, fit_temperature, log_softmax, nll
from livespt.stream.errors import InputError, MissingError, SettingError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

INNER = 3  # folds of the inner cross-validation
STRENGTHS = {  # strengths of regularization of each kind, from weak to strong
    "linear": (1.0, 10.0, 100.0),  # 1 / C of the logistic regression
    "network": (3.0,),  # weight decay
}
LEARNERS = ("auto", *STRENGTHS)
HIDDEN = (32,)  # hidden layers of the network
EPOCHS = 200  # most epochs of the network
MIN_GROUPS = 3  # of a class: one for validation, two for the inner cross-validation
CURVE = np.round(np.arange(0.0, 0.96, 0.05), 2)  # thresholds of confidence


class Samples(NamedTuple):
    """Training data: one row for each track, or window of a track."""

    features: NDArray[np.float32]  # (n, fingerprint.COUNT)
    label: Ints  # (n,) index into classes
    group: Ints  # (n,) samples of one group stay in one fold
    classes: tuple[str, ...]


class Learned(NamedTuple):
    """Parameters of a classifier, as classifier_graph.py computes it."""

    scaling: Scaling
    layers: tuple[Layer, ...]
    temperature: float
    kind: str
    strength: float


class CrossValidation(NamedTuple):
    """Predictions for the samples by classifiers that had not seen them."""

    probability: Floats  # (n, K)
    fold: Ints  # (n,)


def check_samples(samples: Samples, folds: int) -> None:
    """Check that the samples suffice for training and validation.

    Raises
    ------
    InputError
        There is only one class, or a class has fewer groups than there are folds.
    MissingError
        scikit-learn is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingError(
            "training a classifier needs scikit-learn: pip install 'livespt[train]'"
        ) from error
    if len(samples.classes) < 2:
        raise InputError(
            f"all tracks are labelled '{''.join(samples.classes)}': a classifier needs two classes"
        )
    for k, name in enumerate(samples.classes):
        groups = len(np.unique(samples.group[samples.label == k]))
        if groups < max(folds, MIN_GROUPS):
            fewer = f", or give --folds {groups}" if groups >= MIN_GROUPS else ""
            raise InputError(
                f"class '{name}' has {groups} groups of tracks, fewer than "
                f"{max(folds, MIN_GROUPS)}: "
                f"label more{fewer}"
            )


def cross_validate(
    samples: Samples, folds: int, seed: int, learner: str = "auto"
) -> CrossValidation:
    """Train once for each fold, without this fold, and predict the samples in it."""
    probability = np.empty((len(samples.label), len(samples.classes)))
    fold = np.empty(len(samples.label), np.int64)
    for k, (train, test) in enumerate(_folds(samples, folds, seed)):
        learned = learn(_some(samples, train), seed, learner)
        probability[test] = ask(learned, samples.features[test])
        fold[test] = k
    return CrossValidation(probability, fold)


def learn(samples: Samples, seed: int, learner: str = "auto") -> Learned:
    """Train the classifier of the kind and strength that is best in an inner cross-validation.

    The best one has the least negative log-likelihood of unseen samples, after calibration.
    """
    kinds = [learner] if learner != "auto" else list(STRENGTHS)
    tried: list[tuple[float, int, str, float, float]] = []
    inside = list(_folds(samples, _inner(samples), seed))
    for kind in kinds:
        for strength in STRENGTHS[kind]:
            unseen = np.empty((len(samples.label), len(samples.classes)))
            for train, test in inside:
                scaling = fit_scaling(samples.features[train])
                layers = _train_layers(samples, train, scaling, kind, strength, seed)
                unseen[test] = scores(scaled(samples.features[test], scaling), layers)
            temperature = fit_temperature(unseen, samples.label)
            loss = nll(unseen, samples.label, temperature)
            tried.append((loss, len(tried), kind, strength, temperature))
    _, _, kind, strength, temperature = min(tried)
    scaling = fit_scaling(samples.features)
    layers = _train_layers(samples, np.arange(len(samples.label)), scaling, kind, strength, seed)
    return Learned(scaling, layers, temperature, kind, strength)


def ask(learned: Learned, features: NDArray[np.float32]) -> Floats:
    """Predict the probabilities (n, K) of features (n, COUNT)."""
    logits = scores(scaled(features, learned.scaling), learned.layers)
    return np.exp(log_softmax(logits / learned.temperature))


def _inner(samples: Samples) -> int:
    fewest = min(
        len(np.unique(samples.group[samples.label == k])) for k in range(len(samples.classes))
    )
    return max(min(INNER, fewest), 2)


def _some(samples: Samples, rows: Ints) -> Samples:
    return samples._replace(
        features=samples.features[rows], label=samples.label[rows], group=samples.group[rows]
    )


def _folds(samples: Samples, folds: int, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Rows for training and for validation, with equal shares of the classes and whole groups.

    Groups are assigned, the largest first and otherwise in random order, to the fold that has the
    smallest share of their classes so far. (StratifiedGroupKFold of scikit-learn does the same, but
    needs seconds for 1000 groups, which is too slow for nested folds.)
    """
    names, of = np.unique(samples.group, return_inverse=True)
    size = np.zeros((len(names), len(samples.classes)))
    np.add.at(size, (of, samples.label), 1)
    share = size / size.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-size[order].sum(axis=1), kind="stable")]
    full = np.zeros((folds, len(samples.classes)))
    fold_of = np.empty(len(names), np.int64)
    for i in order:
        load = full @ share[i]
        fold_of[i] = np.lexsort((full.sum(axis=1), load))[0]
        full[fold_of[i]] += share[i]
    for k in range(folds):
        test = fold_of[of] == k
        if (full[k] > 1 - 1e-9).any():
            raise InputError(
                "too few groups of tracks: without one of the folds a class is missing; label "
                "more, or give fewer --folds"
            )
        yield np.flatnonzero(~test), np.flatnonzero(test)


def _train_layers(
    samples: Samples, rows: Ints, scaling: Scaling, kind: str, strength: float, seed: int
) -> tuple[Layer, ...]:
    """Train on `rows`; return the layers."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    seen, label = scaled(samples.features[rows], scaling), samples.label[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # validation shows whether it suffices
        if kind == "linear":
            line = LogisticRegression(C=1 / strength, solver="newton-cholesky").fit(seen, label)
            weights, biases = [line.coef_.T], [line.intercept_]
        else:
            how = {"alpha": strength, "max_iter": EPOCHS, "tol": 1e-3, "random_state": seed}
            net = MLPClassifier(HIDDEN, **how).fit(seen, label)
            weights, biases = list(net.coefs_), list(net.intercepts_)
    if biases[-1].shape[0] == 1:  # of two classes, scikit-learn scores only the second
        weights[-1] = np.concatenate([-weights[-1] / 2, weights[-1] / 2], axis=1)
        biases[-1] = np.concatenate([-biases[-1] / 2, biases[-1] / 2])
    return tuple(zip(weights, biases, strict=True))


def figures(validated: CrossValidation, samples: Samples) -> dict[str, Any]:
    """Metrics of a cross-validation: overall, by class, by fold and by threshold."""
    label, k = samples.label, len(samples.classes)
    guess, sure = validated.probability.argmax(axis=1), validated.probability.max(axis=1)
    right = guess == label
    confusion = np.zeros((k, k), np.int64)
    np.add.at(confusion, (label, guess), 1)
    recall = np.diag(confusion) / np.maximum(confusion.sum(axis=1), 1)
    of_fold = [float(right[validated.fold == i].mean()) for i in np.unique(validated.fold)]
    return {
        "accuracy": float(right.mean()),
        "accuracy_sd_of_folds": float(np.std(of_fold, ddof=1)),
        "balanced_accuracy": float(recall.mean()),
        "ece": ece(sure, right),
        "nll": nll(np.log(np.maximum(validated.probability, 1e-300)), label),
        "recall": dict(zip(samples.classes, recall.tolist(), strict=True)),
        "confusion": confusion.tolist(),
        "curve": curve(sure, right, label, samples.classes),
    }


def curve(
    sure: Floats, right: NDArray[np.bool_], label: Ints, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Accuracy and recall above each threshold of confidence (as in Fig. 4c of DeepSPT)."""
    rows = []
    for least in CURVE[CURVE >= 1 / len(classes) - 1e-9]:
        some = sure >= least
        row: dict[str, Any] = {"threshold": float(least), "answered": float(some.mean())}
        row["accuracy"] = float(right[some].mean()) if some.any() else None
        for k, name in enumerate(classes):
            mine = some & (label == k)
            row[f"recall_{name}"] = float(right[mine].mean()) if mine.any() else None
        rows.append(row)
    return rows


def threshold(rows: Sequence[dict[str, Any]], accuracy: float | None) -> float:
    """Least threshold of `curve` with at least this accuracy; 0 if none is requested (None).

    Raises
    ------
    SettingError
        No threshold reaches this accuracy.
    """
    if accuracy is None:
        return 0.0
    known = [row for row in rows if row["accuracy"] is not None]
    for row in known:
        if row["accuracy"] >= accuracy:
            return float(row["threshold"])
    best = max(known, key=lambda row: row["accuracy"])
    raise SettingError(
        f"no threshold reaches accuracy {accuracy:g}: the best is {best['accuracy']:.3f} at "
        f"threshold {best['threshold']:g}; give a lower --accuracy or more labels"
    )
