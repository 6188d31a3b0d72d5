// Owns GnuTLS's forms of a certificate chain and of a private key.

internal import CMicrohttpd
internal import Glibc

/// A certificate chain, the server's own first.
struct ChainHandle: ~Copyable {
    /// Most certificates of a chain.
    private static let longest = 16

    let pointer: UnsafeMutablePointer<gnutls_pcert_st>
    let count: UInt32
    /// When the first certificate expires, in seconds since 1970.
    let expires: Int64

    /// - Parameter path: for the error.
    init(_ pem: [UInt8], path: String) throws(HTTPServerError) {
        let memory = UnsafeMutablePointer<gnutls_pcert_st>.allocate(capacity: Self.longest)
        var length = UInt32(Self.longest)
        let code = GnuTLS.withDatum(pem) {
            gnutls_pcert_list_import_x509_raw(memory, &length, $0, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_SORT.rawValue)
        }
        guard code >= 0, length > 0 else {
            memory.deallocate()
            throw HTTPServerError(
                .invalidCertificate,
                "TLS: \(path) is not a certificate chain in PEM, the server's own certificate first: \(GnuTLS.text(code))")
        }
        pointer = memory
        count = length
        var first: gnutls_x509_crt_t?
        var end: Int64 = -1
        if gnutls_pcert_export_x509(memory, &first) >= 0 {
            end = Int64(gnutls_x509_crt_get_expiration_time(first))
            gnutls_x509_crt_deinit(first)
        }
        expires = end
    }

    deinit {
        for index in 0..<Int(count) { gnutls_pcert_deinit(pointer + index) }
        pointer.deallocate()
    }

    /// Whether the key belongs to the first certificate.
    func matches(_ key: borrowing KeyHandle) -> Bool {
        var own: gnutls_pubkey_t?
        guard gnutls_pubkey_init(&own) >= 0 else { return false }
        defer { gnutls_pubkey_deinit(own) }
        guard gnutls_pubkey_import_privkey(own, key.pointer, 0, 0) >= 0 else { return false }
        guard let expected = GnuTLS.identity(of: pointer.pointee.pubkey) else { return false }
        return expected == GnuTLS.identity(of: own)
    }
}

/// A private key.
struct KeyHandle: ~Copyable {
    let pointer: gnutls_privkey_t

    /// - Parameter path: for the error.
    init(_ pem: [UInt8], path: String) throws(HTTPServerError) {
        var made: gnutls_privkey_t?
        var code = gnutls_privkey_init(&made)
        if code >= 0 { code = GnuTLS.withDatum(pem) { gnutls_privkey_import_x509_raw(made, $0, GNUTLS_X509_FMT_PEM, nil, 0) } }
        guard code >= 0, let made else {
            gnutls_privkey_deinit(made)
            throw HTTPServerError(
                .invalidCertificate, "TLS: \(path) is not a private key in PEM, or it is encrypted: \(GnuTLS.text(code))")
        }
        pointer = made
    }

    deinit { gnutls_privkey_deinit(pointer) }
}

/// Conversions for GnuTLS's functions.
enum GnuTLS {
    static func text(_ code: Int32) -> String { gnutls_strerror(code).map { String(cString: $0) } ?? "error \(code)" }

    /// Calls `body` with bytes as a datum; GnuTLS does not write to them.
    static func withDatum(_ bytes: [UInt8], _ body: (UnsafePointer<gnutls_datum_t>) -> Int32) -> Int32 {
        var bytes = bytes
        return bytes.withUnsafeMutableBufferPointer { buffer in
            var datum = gnutls_datum_t(data: buffer.baseAddress, size: UInt32(buffer.count))
            return body(&datum)
        }
    }

    /// The SHA-256 digest of a public key; `nil` where GnuTLS cannot compute it.
    static func identity(of key: gnutls_pubkey_t?) -> [UInt8]? {
        var size = 64
        var identity = [UInt8](repeating: 0, count: size)
        guard gnutls_pubkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256.rawValue, &identity, &size) >= 0 else { return nil }
        return Array(identity.prefix(size))
    }
}
