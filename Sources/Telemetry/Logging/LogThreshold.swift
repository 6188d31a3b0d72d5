// The lowest level that a logger and all its children write, which can be changed while they are in use.

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
