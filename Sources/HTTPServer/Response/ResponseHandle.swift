// Owns libmicrohttpd's form of a response.

internal import CMicrohttpd

/// One `MHD_Response`. The library counts references, so a handle may be destroyed as soon as the response is queued.
struct ResponseHandle: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: an MHD_Response is not changed after `init`, and the library's own mutex guards its reference count
    // (`MHD_increment_response_rc`, `MHD_destroy_response`).

    let pointer: OpaquePointer

    /// Most bytes that a source writes at a time.
    private static let blockBytes = 32 << 10

    /// `nil` where libmicrohttpd refuses a header field, because of a line break in it.
    init?(headers: [(name: String, value: String)], body: [UInt8]) {
        let made = body.withUnsafeBytes { bytes in
            MHD_create_response_from_buffer(
                bytes.count, UnsafeMutableRawPointer(mutating: bytes.baseAddress), MHD_ResponseMemoryMode.RESPMEM_MUST_COPY)
        }
        self.init(made, headers: headers, bytes: body.count)
    }

    /// A response whose body `source` writes while it is sent. `nil`: as above.
    /// - Parameter written: called with the bytes of every piece that is written.
    init?(
        headers: [(name: String, value: String)], source: any HTTPBodySource, written: @escaping (_ count: Int) -> Void
    ) {
        // The library holds the box until the response is destroyed.
        let box = Unmanaged.passRetained(SourceBox(source, written))
        // libmicrohttpd zeroes a block of this size and keeps it until the response is sent.
        let block = max(1, min(Self.blockBytes, source.byteCount))
        let made = MHD_create_response_from_callback(
            UInt64(source.byteCount), block, writeCallback, box.toOpaque(), releaseCallback)
        self.init(made, headers: headers, bytes: block)
    }

    private init?(_ made: OpaquePointer?, headers: [(name: String, value: String)], bytes: Int) {
        guard let made else { fatalError("libmicrohttpd has no memory for a response of \(bytes) bytes") }
        for (name, value) in headers where MHD_add_response_header(made, name, value) != .YES {
            MHD_destroy_response(made)
            return nil
        }
        pointer = made
    }

    deinit { MHD_destroy_response(pointer) }
}

/// A response handle that many requests share.
final class PreparedResponse: Sendable {
    let handle: ResponseHandle
    let headers: [(name: String, value: String)]
    let body: [UInt8]

    init(_ handle: consuming ResponseHandle, headers: [(name: String, value: String)], body: [UInt8]) {
        self.handle = handle
        self.headers = headers
        self.body = body
    }
}

/// A source as the library holds it.
private final class SourceBox {
    let source: any HTTPBodySource
    let written: (_ count: Int) -> Void

    init(_ source: any HTTPBodySource, _ written: @escaping (_ count: Int) -> Void) {
        self.source = source
        self.written = written
    }
}

private let writeCallback: MHD_ContentReaderCallback = { box, position, memory, size in
    Unmanaged<SourceBox>.fromOpaque(box!)._withUnsafeGuaranteedRef { box in
        let written = box.source.write(
            from: Int(position), into: UnsafeMutableRawBufferPointer(start: memory, count: size))
        if written > 0 { box.written(written) }
        // MHD_CONTENT_READER_END_WITH_ERROR: the client was told a length, so a shorter body is an error.
        return written > 0 ? written : -2
    }
}

private let releaseCallback: MHD_ContentReaderFreeCallback = { Unmanaged<SourceBox>.fromOpaque($0!).release() }
