// Owns the version of the program.

/// As `sluice --version` and the man page show it.
let sluiceVersion = "0.1.0"
