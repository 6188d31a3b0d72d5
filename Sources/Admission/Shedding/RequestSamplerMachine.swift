// Decides for each request whether it belongs to the shed share, and what its Retry-After is.

internal import Platform

/// Refuses an exact share of the requests. Pure.
///
/// The rounding error is carried over to the next request, so after any number of requests at one share the count of refused ones is off by
/// less than one. Dither decides which of neighbouring requests is refused: without it, of two clients that alternate always the same one
/// would be. It is a hash of the request's number (SplitMix64), so the same requests give the same decisions.
///
/// Retry-After is `retryAfter + jitter` seconds, with a jitter of 0 … max(1, ⌈retryAfter / 2⌉): ⌊frac(n · φ) · (most + 1)⌋ for the n-th
/// refusal (φ: the golden ratio), which spreads clients evenly that are refused together.
struct RequestSamplerMachine: ~Copyable {
    /// The whole, in the unit of shares.
    static let one: Int64 = 1 << 31

    /// The rounding error: at most one request, in either direction.
    private var due: Int64 = 0
    private var requests: UInt64 = 0
    private var refusals: UInt64 = 0

    /// A request came in. `nil`: it is admitted.
    mutating func requested(_ decision: SheddingDecision) -> SheddingRefusal? {
        guard let cause = decision.cause else { return nil }
        requests &+= 1
        due += decision.fixedShare
        guard due + Int64(SplitMix64.mix(requests &* SplitMix64.gamma) >> 33) >= Self.one else { return nil }
        due -= Self.one
        return SheddingRefusal(
            cause: cause, retryAfter: decision.retryAfter + jitter(upTo: Swift.max(1, (decision.retryAfter + 1) / 2)))
    }

    private mutating func jitter(upTo most: Int) -> Int {
        refusals &+= 1
        let phase = (refusals &* SplitMix64.gamma) >> 32
        return Int((phase * UInt64(most + 1)) >> 32)
    }
}
