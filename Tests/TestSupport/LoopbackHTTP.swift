// Sends bytes to a port of this machine and returns what comes back: one request, one connection.

internal import Dispatch
internal import Glibc

/// A plain exchange over loopback.
public enum LoopbackHTTP {
    /// What went wrong, in one sentence.
    public struct Failure: Error, CustomStringConvertible {
        /// One sentence.
        public let description: String
    }

    /// Sends a request, which must ask for the connection to be closed, and returns everything that is answered.
    public static func exchange(_ request: String, port: UInt16) async throws -> [UInt8] {
        try await withCheckedThrowingContinuation { continuation in
            // Blocks, so it does not run on the cooperative pool.
            DispatchQueue.global().async { continuation.resume(with: Result { try blocking(request, port) }) }
        }
    }

    private static func blocking(_ request: String, _ port: UInt16) throws -> [UInt8] {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(description: "no socket: errno \(errno)") }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isConnected else { throw Failure(description: "port \(port) cannot be reached: errno \(errno)") }
        // Requests of tests fit into a socket's buffer.
        guard send(descriptor, request, request.utf8.count, Int32(MSG_NOSIGNAL)) == request.utf8.count else {
            throw Failure(description: "port \(port) does not take the request: errno \(errno)")
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count == 0 { return answer }
            guard count > 0 else { throw Failure(description: "port \(port) does not answer: errno \(errno)") }
            answer += buffer[..<count]
        }
    }
}
