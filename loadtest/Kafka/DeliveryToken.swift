// Packs what a delivery report must tell into the one number that travels with a record.

/// The number of an event and the time it was due.
///
/// The time has 27 bits of 10 µs, enough for 22 minutes; the producer's time-out is some seconds. So no state is kept for events in
/// flight.
struct DeliveryToken: Sendable, Equatable {
    /// The upper bound of event numbers.
    static let indexLimit: UInt64 = 1 << indexBits
    private static let indexBits: UInt64 = 36
    private static let tick: UInt64 = 10_000
    private static let tickMask: UInt64 = 1 << 27 - 1

    /// The packed form, below 2^63.
    let packed: UInt

    /// - Parameter dueAt: nanoseconds of the monotonic clock.
    @inline(__always)
    init(index: UInt64, dueAt: UInt64) { packed = UInt(dueAt / Self.tick & Self.tickMask) << UInt(Self.indexBits) | UInt(index) }

    /// The token of a delivery report.
    @inline(__always)
    init(packed: UInt) { self.packed = packed }

    /// The event's number.
    @inline(__always)
    var index: UInt64 { UInt64(packed) & (Self.indexLimit - 1) }

    /// Nanoseconds since the event was due, in steps of 10 µs.
    @inline(__always)
    func age(at now: UInt64) -> UInt64 {
        ((now / Self.tick) &- UInt64(packed) >> Self.indexBits) & Self.tickMask * Self.tick
    }
}
