// Owns zlib's decompressor.

internal import CZlib

/// One zlib stream that is decompressed.
struct InflateHandle: ~Copyable {
    /// zlib's window bits: 15, and 16 more for a gzip header.
    enum Format: Int32 { case zlib = 15, gzip = 31 }

    enum Outcome: Equatable { case going, ended, damaged }

    private let stream: UnsafeMutablePointer<z_stream>

    init(_ format: Format) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let code = inflateInit2_(stream, format.rawValue, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard code == Z_OK else { fatalError("zlib cannot decompress: error \(code)") }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Decompresses until the input is used up, the output is full, or the stream has ended.
    func inflate(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> (read: Int, written: Int, outcome: Outcome) {
        // zlib reads its input only, but takes a mutable pointer.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(input.count)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(output.count)
        let code = CZlib.inflate(stream, Z_NO_FLUSH)
        let outcome: Outcome =
            switch code {
            case Z_STREAM_END: .ended
            // Z_BUF_ERROR: without input there is no progress.
            case Z_OK, Z_BUF_ERROR: .going
            default: .damaged
            }
        return (input.count - Int(stream.pointee.avail_in), output.count - Int(stream.pointee.avail_out), outcome)
    }

    /// Begins another stream.
    func reset() { inflateReset(stream) }
}
