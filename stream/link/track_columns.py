"""Columns of the float tables of the motion models, by name.

Compiled loops run over plain float arrays, because record arrays are several times slower there.
The names here say which number of a row is which. The models themselves are in `motion_model`.

A track has one row of `TRACK_WIDTH` numbers. Two Kalman filters follow it: one for Brownian and one
for directed motion. Lateral variances hold for y and for x.

=====================  ========  =======  =====================================================
column                 symbol    unit     quantity
=====================  ========  =======  =====================================================
BROWNIAN_Z, _Y, _X     b         px       position in the Brownian filter
DIRECTED_Z, _Y, _X     x         px       position in the directed filter
VELOCITY_Z, _Y, _X     v         px/f     velocity in the directed filter
BROWNIAN_VAR           P_b       px^2     lateral variance of the Brownian position
BROWNIAN_VAR_Z         P_b       px^2     its axial variance
DIRECTED_VAR           P_xx      px^2     lateral variance of the directed position
DIRECTED_COV           P_xv      px^2/f   lateral covariance of directed position and velocity
VELOCITY_VAR           P_vv      px^2/f^2 lateral variance of the velocity
DIRECTED_VAR_Z         P_xx      px^2     axial variance of the directed position
DIRECTED_COV_Z         P_xv      px^2/f   axial covariance of directed position and velocity
VELOCITY_VAR_Z         P_vv      px^2/f^2 axial variance of the velocity
P_DIRECTED             mu        1        probability of directed motion
OWN_STEP_SUM           S         px^2/f   fading sum of the track's own Brownian step variances
OWN_STEP_COUNT         n_S       1        number of steps that this sum counts for
POINTS                 n         1        points that the track has
LAST_SEEN              t         f        time of its last point
LOG_INTENSITY          log I     1        running mean of the logarithm of its intensity
=====================  ========  =======  =====================================================

A frame (f) is a mean frame interval where times are known.

The population of all tracks has one row of `POPULATION_WIDTH` numbers. Most are sums that fade from
frame to frame, each followed by the number of cases that it counts for.

===============================  ========  =======================================================
columns                          unit      quantity
===============================  ========  =======================================================
STEP_SUM, STEP_COUNT             px^2/f    variance of a Brownian step along an axis
SPEED_SUM, SPEED_COUNT           px^2/f^2  squared velocity along an axis
SURPRISE_SUM, SURPRISE_COUNT     1         squared error of the directed filter, in variances
DIRECTED_NOISE                   px^2/f    variance that the directed motion gains in a frame
BIRTH_SUM, FRAME_COUNT           1         points that start a track in a frame
LOWEST, HIGHEST                  px        corners z, y, x of the box that holds all points
DIRECTED_SUM, TRACK_COUNT        1         probability of directed motion
INTENSITY_SUM, INTENSITY_COUNT   1         squared change of the logarithm of an intensity
RETURNS                          1         tracks seen again and tracks looked for, in turns: two
                                           numbers for each class, `GAPS` classes for each of `AGES`
===============================  ========  =======================================================
"""

from __future__ import annotations

BROWNIAN_Z, BROWNIAN_Y, BROWNIAN_X = 0, 1, 2
DIRECTED_Z, DIRECTED_Y, DIRECTED_X = 3, 4, 5
VELOCITY_Z, VELOCITY_Y, VELOCITY_X = 6, 7, 8
BROWNIAN_VAR, BROWNIAN_VAR_Z = 9, 10
DIRECTED_VAR, DIRECTED_COV, VELOCITY_VAR = 11, 12, 13
DIRECTED_VAR_Z, DIRECTED_COV_Z, VELOCITY_VAR_Z = 14, 15, 16
P_DIRECTED = 17
OWN_STEP_SUM, OWN_STEP_COUNT = 18, 19
POINTS = 20
LAST_SEEN = 21
LOG_INTENSITY = 22
TRACK_WIDTH = 23

STEP_SUM, STEP_COUNT = 0, 1
SPEED_SUM, SPEED_COUNT = 2, 3
SURPRISE_SUM, SURPRISE_COUNT = 4, 5
DIRECTED_NOISE = 6
BIRTH_SUM, FRAME_COUNT = 7, 8
LOWEST, HIGHEST = 9, 12
DIRECTED_SUM, TRACK_COUNT = 15, 16
INTENSITY_SUM, INTENSITY_COUNT = 17, 18
RETURNS = 19
GAPS, AGES = 4, 3
POPULATION_WIDTH = RETURNS + 2 * GAPS * AGES
