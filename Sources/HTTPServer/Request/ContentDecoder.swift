// Decodes a compressed body (RFC 9110, section 8.4) piece by piece.

/// The coding of a compressed body.
enum ContentCoding { case gzip, deflate }

/// Decodes one body. Confined to the loop's thread.
final class ContentDecoder {
    /// Memory of one: zlib's window and tables, and decoded bytes that wait for their reader.
    static let bytes = 48 << 10
    /// Most bytes that are decoded at a time. The receiver of decoded bytes may not read beyond their end.
    static let pieceBytes = 8 << 10

    private let handle: InflateHandle
    private let coding: ContentCoding
    /// Decoded bytes that the reader has not taken.
    private var kept: [UInt8] = []
    /// Bytes of the next piece that have been decoded already: libmicrohttpd offers a body again only if bytes of it are left.
    var decodedAhead = 0
    /// The body is whole.
    private(set) var isComplete = false
    /// The body is not what its coding says.
    private(set) var isDamaged = false

    init(_ coding: ContentCoding) {
        self.coding = coding
        handle = InflateHandle(coding)
    }

    /// Decodes into `memory`, which has ``pieceBytes``.
    /// - Parameter at: how far `wire` is read.
    /// - Returns: decoded bytes; empty: all of `wire` is decoded, or the body is damaged.
    func next(
        _ wire: UnsafeRawBufferPointer, _ at: inout Int, into memory: UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        if !kept.isEmpty {
            memory.copyBytes(from: kept)
            defer { kept.removeAll(keepingCapacity: true) }
            return UnsafeRawBufferPointer(rebasing: memory[..<kept.count])
        }
        while !isDamaged {
            if isComplete {
                guard at < wire.count else { break }
                // A gzip file may have several members (RFC 1952, section 2.2).
                isDamaged = coding != .gzip
                if isDamaged { break }
                handle.reset()
            }
            let step = handle.inflate(UnsafeRawBufferPointer(rebasing: wire[at...]), into: memory)
            at += step.read
            (isComplete, isDamaged) = (step.hasEnded, step.isDamaged)
            if step.written > 0 { return UnsafeRawBufferPointer(rebasing: memory[..<step.written]) }
            if step.read == 0, !isComplete { break }
        }
        return UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// Decoded bytes that are offered again.
    func keep(_ bytes: Slice<UnsafeRawBufferPointer>) { kept += bytes }
}
