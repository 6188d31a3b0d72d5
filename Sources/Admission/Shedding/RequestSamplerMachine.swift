// Decides for each request whether it belongs to the share that is refused, and when its caller may come back.

/// Refuses an exact share of the requests.
///
/// What is refused too little or too much is carried over to the next request, so after any number of requests at one share the count of
/// the refused is off by less than one. Which of two neighbours it hits is dithered: a strict rhythm would always refuse the same one of two
/// callers that take turns. The dither is a hash of the request's number (SplitMix64), so a transcript is the same each time.
///
/// Callers that are refused together are told different times, spread evenly (multiples of the golden ratio) over half of the wait again,
/// at least a second.
public struct RequestSamplerMachine: ~Copyable {
    /// The whole, in the unit of shares.
    static let one: Int64 = 1 << 31

    /// What is still to be refused; never more than one request's worth, in either direction.
    private var due: Int64 = 0
    private var requests: UInt64 = 0
    private var refusals: UInt64 = 0

    /// Nothing was asked yet.
    public init() {}

    /// A request has come. `nil`: it is admitted.
    public mutating func requested(_ order: SheddingDecision) -> SheddingRefusal? {
        guard let cause = order.cause else { return nil }
        requests &+= 1
        due += order.fixedShare
        guard due + Int64(Self.hash(requests) >> 33) >= Self.one else { return nil }
        due -= Self.one
        return SheddingRefusal(
            cause: cause, retryAfter: order.retryAfter + jitter(upTo: Swift.max(1, (order.retryAfter + 1) / 2)))
    }

    private mutating func jitter(upTo most: Int) -> Int {
        refusals &+= 1
        let phase = (refusals &* 0x9E37_79B9_7F4A_7C15) >> 32
        return Int((phase * UInt64(most + 1)) >> 32)
    }

    private static func hash(_ number: UInt64) -> UInt64 {
        var z = number &* 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
