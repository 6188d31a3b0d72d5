// Says how an answer's body is written while it is sent.

/// A body of known length that is written while it is sent, so that it never lies in memory as a whole.
public protocol HTTPBodySource: AnyObject, Sendable {
    /// Bytes of the whole body.
    var byteCount: Int { get }

    /// Writes what follows the first `position` bytes, and answers how much that is: at least one byte, at most the room. Called on
    /// the server's loop thread, one call after the other, each where the last one ended.
    func write(from position: Int, into room: UnsafeMutableRawBufferPointer) -> Int
}
