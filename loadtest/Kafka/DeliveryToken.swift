// Packs what must be known when a delivery report comes into the one number that travels with a record.

/// The number of an event and the time it was due.
///
/// The time has 27 bits of 10 µs, which is enough to measure up to 22 minutes; the producer gives a record up after seconds. With
/// it nothing about an event in flight has to be kept anywhere.
struct DeliveryToken: Sendable, Equatable {
    /// Numbers of events are below this.
    static let indexLimit: UInt64 = 1 << indexBits
    private static let indexBits: UInt64 = 36
    private static let tick: UInt64 = 10_000
    private static let tickMask: UInt64 = 1 << 27 - 1

    /// The packed form, below 2^63.
    let packed: UInt

    /// - Parameter dueAt: nanoseconds of the monotonic clock.
    @inline(__always)
    init(index: UInt64, dueAt: UInt64) { packed = UInt(dueAt / Self.tick & Self.tickMask) << UInt(Self.indexBits) | UInt(index) }

    /// A token that came back.
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
