"""Where frames come from: the microscope, recorded movies, simulated movies."""
