// Decodes a compressed body (RFC 9110, section 8.4) piece by piece.

/// The coding of a body.
enum ContentCoding { case identity, gzip, deflate }

/// Decodes one body. Confined to the loop's thread.
final class ContentDecoder {
    /// Memory of one: zlib's window and tables, and decoded bytes that wait for their reader.
    static let bytes = 48 << 10
    /// Most bytes that are decoded at a time. The receiver of decoded bytes may not read beyond their end.
    static let pieceBytes = 8 << 10

    private let handle: InflateHandle
    private let isGzip: Bool
    /// Decoded bytes that the reader has not taken.
    private var kept: [UInt8] = []
    /// Bytes of the next piece that have been decoded already: libmicrohttpd offers a body again only if bytes of it are left.
    var decodedAhead = 0
    /// The body is whole.
    private(set) var isComplete = false
    /// The body is not what its coding says.
    private(set) var isDamaged = false

    /// `nil` for a body that is not coded.
    init?(_ coding: ContentCoding) {
        guard coding != .identity else { return nil }
        isGzip = coding == .gzip
        handle = InflateHandle(isGzip ? .gzip : .zlib)
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
                guard isGzip else {
                    isDamaged = true
                    break
                }
                handle.reset()
                isComplete = false
            }
            let (read, written, outcome) = handle.inflate(UnsafeRawBufferPointer(rebasing: wire[at...]), into: memory)
            at += read
            isComplete = outcome == .ended
            isDamaged = outcome == .damaged
            if written > 0 { return UnsafeRawBufferPointer(rebasing: memory[..<written]) }
            if read == 0, outcome == .going { break }
        }
        return UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// Decoded bytes that are offered again.
    func keep(_ bytes: Slice<UnsafeRawBufferPointer>) { kept += bytes }
}
