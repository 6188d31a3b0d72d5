// Owns how loud a line must be: one level for a logger and all its children, which can be changed while they are in use.

import Synchronization

/// The level below which lines are not written.
final class LogThreshold: Sendable {
    private let weight: Atomic<Int>

    init(_ level: LogLevel) { weight = Atomic(level.weight) }

    var level: LogLevel {
        get { LogLevel.allCases[weight.load(ordering: .relaxed)] }
        set { weight.store(newValue.weight, ordering: .relaxed) }
    }
}
