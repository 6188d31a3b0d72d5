// Owns the protocol of a response body that is written while it is sent.

/// A body of known length that is written while it is sent, so that it never lies in memory as a whole.
public protocol HTTPBodySource: AnyObject, Sendable {
    /// Bytes of the whole body.
    var byteCount: Int { get }

    /// Writes the bytes after the first `position`. Called on the server's loop thread, each call where the last one ended.
    /// - Returns: how many bytes were written: at least one, at most the size of `buffer`.
    func write(from position: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int
}
