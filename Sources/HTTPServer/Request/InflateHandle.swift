// Owns zlib's decompressor.

internal import CZlib

/// One zlib stream that is decompressed.
struct InflateHandle: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>

    init(_ coding: ContentCoding) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // The window bits; 16 more stand for a gzip header.
        let code = inflateInit2_(stream, coding == .gzip ? 31 : 15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard code == Z_OK else { fatalError("zlib cannot decompress: error \(code)") }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Decompresses until the input is used up, the output is full, or the stream has ended.
    func inflate(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> (read: Int, written: Int, hasEnded: Bool, isDamaged: Bool) {
        // zlib reads its input only, but takes a mutable pointer.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(input.count)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(output.count)
        let code = CZlib.inflate(stream, Z_NO_FLUSH)
        // Z_BUF_ERROR: without input there is no progress.
        return (
            input.count - Int(stream.pointee.avail_in), output.count - Int(stream.pointee.avail_out), code == Z_STREAM_END,
            ![Z_OK, Z_BUF_ERROR, Z_STREAM_END].contains(code)
        )
    }

    /// Begins another stream.
    func reset() { inflateReset(stream) }
}
