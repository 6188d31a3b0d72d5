// Owns libmicrohttpd's form of an answer.

internal import CMicrohttpd

/// One `MHD_Response`. The library counts its own uses, so that a handle may be given up as soon as the answer is queued.
struct ResponseHandle: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: an MHD_Response is not changed after `init`, and its reference count is behind the library's own
    // mutex (`MHD_increment_response_rc`, `MHD_destroy_response`).

    let pointer: OpaquePointer

    /// Bytes that a source writes at a time.
    private static let blockBytes = 32 << 10

    /// `nil` where a header field is one the library refuses (a line break in it).
    init?(headers: [(name: String, value: String)], body: [UInt8]) {
        let made = body.withUnsafeBytes { bytes in
            MHD_create_response_from_buffer(
                bytes.count, UnsafeMutableRawPointer(mutating: bytes.baseAddress), MHD_ResponseMemoryMode.RESPMEM_MUST_COPY)
        }
        self.init(made, headers: headers, bytes: body.count)
    }

    /// An answer whose body `source` writes while it is sent. `nil`: as above.
    /// - Parameter written: told of every piece that is written, when there is room for it.
    init?(
        headers: [(name: String, value: String)], source: any HTTPBodySource, written: @escaping (_ count: Int) -> Void
    ) {
        // The library holds the box until the response is destroyed.
        let box = Unmanaged.passRetained(SourceBox(source, written))
        // Zeroed memory that the library keeps until the answer is sent.
        let block = max(1, min(Self.blockBytes, source.byteCount))
        let made = MHD_create_response_from_callback(
            UInt64(source.byteCount), block, writeCallback, box.toOpaque(), releaseCallback)
        self.init(made, headers: headers, bytes: block)
    }

    private init?(_ made: OpaquePointer?, headers: [(name: String, value: String)], bytes: Int) {
        guard let made else { fatalError("libmicrohttpd has no memory for an answer of \(bytes) bytes") }
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

/// What the library holds of a source.
private final class SourceBox {
    let source: any HTTPBodySource
    let written: (_ count: Int) -> Void

    init(_ source: any HTTPBodySource, _ written: @escaping (_ count: Int) -> Void) {
        self.source = source
        self.written = written
    }
}

private let writeCallback: MHD_ContentReaderCallback = { box, position, memory, room in
    Unmanaged<SourceBox>.fromOpaque(box!)._withUnsafeGuaranteedRef { box in
        let written = box.source.write(
            from: Int(position), into: UnsafeMutableRawBufferPointer(start: memory, count: room))
        if written > 0 { box.written(written) }
        // MHD_CONTENT_READER_END_WITH_ERROR: the length was announced, so nothing less can be an end.
        return written > 0 ? written : -2
    }
}

private let releaseCallback: MHD_ContentReaderFreeCallback = { Unmanaged<SourceBox>.fromOpaque($0!).release() }
