// Owns the digest by which bearer tokens are looked up.

internal import CMicrohttpd

/// The SHA-256 digest of a bearer token: a key of a dictionary.
///
/// Lookups by digest need no constant-time comparison. Their duration depends on the offered token's digest, not on its bytes: a client can
/// learn at most how far that digest agrees with a stored one, and no token can be computed from a digest.
public struct TokenDigest: Hashable, Sendable {
    private let words: SIMD4<UInt64>

    /// - Parameter token: the token's bytes, any number of them.
    public init(_ token: UnsafeRawBufferPointer) {
        var words = SIMD4<UInt64>()
        let code = withUnsafeMutableBytes(of: &words) {
            gnutls_hash_fast(GNUTLS_DIG_SHA256, token.baseAddress, token.count, $0.baseAddress)
        }
        precondition(code == 0, "GnuTLS has no SHA-256: \(String(cString: gnutls_strerror(code)))")
        self.words = words
    }
}
