// Owns the certificates that the handshakes of one loop use: the current one, and replaced ones that a handshake may still use.

internal import CMicrohttpd
internal import Glibc

/// The certificates of one loop. Confined to its thread.
struct CertificateStore: ~Copyable {
    /// GnuTLS's defaults, with TLS 1.2 and 1.3 only, without key exchanges that give no forward secrecy, in the server's order of preference.
    static let priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:%SERVER_PRECEDENCE"
    /// How long a replaced certificate is kept, in nanoseconds: longer than any handshake, which ends at `headerTimeout`.
    private static let kept: UInt64 = 3_600_000_000_000

    private var current: TLSIdentity?
    private var replaced: [(identity: TLSIdentity, at: UInt64)] = []

    init(_ identity: TLSIdentity?) { current = identity }

    /// Handshakes that begin from now on use `identity`.
    mutating func update(_ identity: TLSIdentity?, now: UInt64) {
        replaced.removeAll { now > $0.at + Self.kept }
        guard let identity, let before = current, identity !== before else { return }
        replaced.append((before, now))
        current = identity
    }

    /// Passes the current certificate to a handshake (`gnutls_certificate_retrieve_function2`).
    /// - Returns: 0, or −1 where there is none.
    func retrieve(
        _ chain: UnsafeMutablePointer<UnsafeMutablePointer<gnutls_pcert_st>?>, _ length: UnsafeMutablePointer<UInt32>,
        _ key: UnsafeMutablePointer<gnutls_privkey_t?>
    ) -> Int32 {
        guard let current else { return -1 }
        chain.pointee = current.chain.pointer
        length.pointee = current.chain.count
        key.pointee = current.key.pointer
        return 0
    }
}

/// The loop that runs on this thread: GnuTLS's callback has no argument that leads to it.
enum CurrentLoop {
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        let code = pthread_key_create(&key, nil)
        precondition(code == 0, "no thread-specific data key: \(String(cString: strerror(code)))")
        return key
    }()

    /// - Parameter loop: must live until the thread ends.
    static func set(_ loop: ServerLoop) { pthread_setspecific(key, Unmanaged.passUnretained(loop).toOpaque()) }

    static func with(_ body: (ServerLoop) -> Int32) -> Int32 {
        guard let pointer = pthread_getspecific(key) else { return -1 }
        return Unmanaged<ServerLoop>.fromOpaque(pointer)._withUnsafeGuaranteedRef(body)
    }
}
