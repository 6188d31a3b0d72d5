// Owns a server's certificate chain with its private key: read from files, and checked to match.

internal import CMicrohttpd
internal import Glibc
internal import Platform

/// A certificate chain and its private key.
public final class TLSIdentity: @unchecked Sendable {
    // Licence for @unchecked: neither is changed after `init`; GnuTLS only reads them, on the thread of the loop that passes them to it.

    /// Most bytes of either file.
    private static let fileBytes = 1 << 20

    let chain: ChainHandle
    let key: KeyHandle

    /// Reads both files; blocks on the disk.
    /// - Parameters:
    ///   - certificate: a file in PEM: the server's certificate, then the intermediate certificates.
    ///   - key: a file in PEM: its private key, not encrypted.
    /// - Throws: ``HTTPServerError/Code/invalidCertificate``, naming the file and never its content.
    public init(certificate: String, key: String) throws(HTTPServerError) {
        chain = try ChainHandle(try Self.read(certificate, "certificate"), path: certificate)
        self.key = try KeyHandle(try Self.read(key, "key"), path: key)
        guard chain.matches(self.key) else {
            throw HTTPServerError(
                .invalidCertificate, "TLS: the key \(key) is not the one of the certificate \(certificate); name a pair")
        }
    }

    /// When the first certificate of the chain expires, in seconds since 1970.
    public var expires: Int64 { chain.expires }

    private static func read(_ path: String, _ what: String) throws(HTTPServerError) -> [UInt8] {
        do throws(SmallFile.Failure) {
            return try SmallFile.read(path, atMost: fileBytes)
        } catch {
            throw HTTPServerError(.invalidCertificate, "TLS: the \(what) \(path) \(error)")
        }
    }
}
