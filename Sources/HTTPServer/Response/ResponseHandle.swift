// Owns libmicrohttpd's form of an answer.

internal import CMicrohttpd

/// One `MHD_Response`. The library counts its own uses, so that a handle may be given up as soon as the answer is queued.
struct ResponseHandle: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: an MHD_Response is not changed after `init`, and its reference count is behind the library's own
    // mutex (`MHD_increment_response_rc`, `MHD_destroy_response`).

    let pointer: OpaquePointer

    /// `nil` where a header field is one the library refuses (a line break in it).
    init?(headers: [(name: String, value: String)], body: [UInt8]) {
        let made = body.withUnsafeBytes { bytes in
            MHD_create_response_from_buffer(
                bytes.count, UnsafeMutableRawPointer(mutating: bytes.baseAddress), MHD_ResponseMemoryMode.RESPMEM_MUST_COPY)
        }
        guard let made else { fatalError("libmicrohttpd has no memory for an answer of \(body.count) bytes") }
        for (name, value) in headers where MHD_add_response_header(made, name, value) != .YES {
            MHD_destroy_response(made)
            return nil
        }
        pointer = made
    }

    deinit { MHD_destroy_response(pointer) }
}

/// A response handle that many answers share.
final class PreparedResponse: Sendable {
    let handle: ResponseHandle

    init(_ handle: consuming ResponseHandle) { self.handle = handle }
}
