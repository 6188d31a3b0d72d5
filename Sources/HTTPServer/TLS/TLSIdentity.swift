// Owns the certificate a server shows, with its private key: read from files, and checked to belong together.

internal import CMicrohttpd
internal import Glibc

/// A certificate chain and its private key, ready to be shown to clients.
public final class TLSIdentity: Sendable {
    /// Most bytes either file may have.
    private static let fileBytes = 1 << 20

    /// When the first certificate of the chain ends, in seconds since 1970.
    public let expires: Int64
    let credentials: CredentialsHandle

    /// Reads both files. Blocks for as long as the disk does.
    /// - Parameters:
    ///   - certificate: PEM: the server's certificate, and the ones between it and the authority's behind it.
    ///   - key: PEM: its private key, not encrypted.
    /// - Throws: ``HTTPServerError/Code/invalidCertificate``, naming the file and never what is in it.
    public init(certificate: String, key: String) throws(HTTPServerError) {
        let chain = try ChainHandle(try Self.read(certificate, "certificate"), path: certificate)
        let secret = try KeyHandle(try Self.read(key, "key"), path: key)
        guard chain.matches(secret) else {
            throw HTTPServerError(
                .invalidCertificate, "TLS: the key \(key) is not the one of the certificate \(certificate); name a pair")
        }
        expires = chain.expires
        credentials = CredentialsHandle(chain, secret)
    }

    private static func read(_ path: String, _ what: String) throws(HTTPServerError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw unreadable(path, what) }
        defer { close(file) }
        var bytes: [UInt8] = []
        while bytes.count <= fileBytes {
            var count = 0
            let piece = [UInt8](unsafeUninitializedCapacity: 16 << 10) { buffer, filled in
                count = Glibc.read(file, buffer.baseAddress, buffer.count)
                filled = max(0, count)
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw unreadable(path, what) }
            if count == 0 { return bytes }
            bytes += piece
        }
        throw HTTPServerError(.invalidCertificate, "TLS: the \(what) \(path) has more than \(fileBytes) bytes")
    }

    private static func unreadable(_ path: String, _ what: String) -> HTTPServerError {
        let reason = String(cString: strerror(errno))
        return HTTPServerError(.invalidCertificate, "TLS: the \(what) \(path) cannot be read: \(reason)")
    }
}

/// A chain and a key for GnuTLS to borrow.
struct CredentialsHandle: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: neither is changed after `init`; GnuTLS only reads them, on the thread of the loop they are lent to.

    let chain: ChainHandle
    let key: KeyHandle

    init(_ chain: consuming ChainHandle, _ key: consuming KeyHandle) {
        self.chain = chain
        self.key = key
    }
}
