// Lets a test wait for a condition.

import Synchronization

/// Polls a condition until it holds or a deadline passes. Answers whether it held.
///
/// For conditions without an event to wait for. The deadline bounds a failing test; a passing one returns at once.
public func eventually(
    within limit: Duration = .seconds(20), every pause: Duration = .milliseconds(2),
    _ condition: @Sendable () async throws -> Bool
) async rethrows -> Bool {
    let clock = ContinuousClock()
    let deadline = clock.now + limit
    while clock.now < deadline {
        if try await condition() { return true }
        try? await clock.sleep(for: pause)
    }
    return try await condition()
}

/// Measures how long something takes, up to three times, until it was below `limit`. Answers the shortest time.
///
/// A machine that stands still for a moment spoils one measurement; what takes so long by itself spoils all.
public func shortest(
    below limit: Duration, _ measure: () async throws -> Duration
) async rethrows -> Duration {
    var shortest = try await measure()
    for _ in 1..<3 where shortest >= limit { shortest = min(shortest, try await measure()) }
    return shortest
}

/// A value that tests write from one task and read from another.
public final class Shared<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    /// A shared value.
    public init(_ value: Value) { self.value = Mutex(value) }

    /// Reads or changes the value under the lock.
    public func withLock<R>(_ body: (inout sending Value) throws -> sending R) rethrows -> R {
        try value.withLock(body)
    }

    /// A copy of the value.
    public var current: Value { value.withLock { $0 } }
}
