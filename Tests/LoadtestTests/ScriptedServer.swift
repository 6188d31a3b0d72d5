// A small HTTP server for tests: it answers as a script says, on threads of its own.

import Glibc
import Platform
import Synchronization

/// What the server does with one request.
enum ScriptedAnswer: Sendable {
    /// Answers after so many milliseconds.
    case answer(Int, body: String = "", headers: [String] = [], afterMilliseconds: UInt32 = 0)
    /// Closes the connection without an answer.
    case hangUp
}

/// Answers each POST by calling a script with its body. One thread a connection.
final class ScriptedServer: Sendable {
    let port: UInt16
    private let listener: Int32
    private let script: @Sendable (_ body: String) -> ScriptedAnswer

    init(_ script: @escaping @Sendable (_ body: String) -> ScriptedAnswer) {
        self.script = script
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        port = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                precondition(bind(descriptor, raw, length) == 0 && listen(descriptor, 1024) == 0, "no port for the test server")
                getsockname(descriptor, raw, &length)
            }
            return UInt16(bigEndian: pointer.pointee.sin_port)
        }
        try! OwnedThread.start("test-server") { [script] in
            while true {
                let connection = accept(descriptor, nil, nil)
                guard connection >= 0 else { return }
                try! OwnedThread.start("test-server") { Self.serve(connection, script) }
            }
        }
    }

    /// Stops to accept; connections end when the client closes them.
    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private static func serve(_ connection: Int32, _ script: (String) -> ScriptedAnswer) {
        defer { close(connection) }
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 8192)
        while true {
            while let (body, rest) = request(in: received) {
                received = rest
                switch script(body) {
                case .hangUp: return
                case .answer(let status, let text, let headers, let delay):
                    if delay > 0 { usleep(delay * 1000) }
                    let head = ["HTTP/1.1 \(status) Scripted", "Content-Length: \(text.utf8.count)"] + headers
                    let bytes = Array((head.joined(separator: "\r\n") + "\r\n\r\n" + text).utf8)
                    guard send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { return }
                }
            }
            let count = recv(connection, &chunk, chunk.count, 0)
            guard count > 0 else { return }
            received += chunk[0..<count]
        }
    }

    /// The body of the first whole request, and the bytes after it.
    private static func request(in bytes: [UInt8]) -> (body: String, rest: [UInt8])? {
        let text = String(decoding: bytes, as: UTF8.self)
        let separator: [UInt8] = [13, 10, 13, 10]
        guard bytes.count >= 4, let end = (0...bytes.count - 4).first(where: { Array(bytes[$0..<$0 + 4]) == separator })
        else { return nil }
        let line = text.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        let length = line.flatMap { Int($0.dropFirst(15).drop(while: { $0 == " " })) } ?? 0
        guard bytes.count >= end + 4 + length else { return nil }
        return (String(decoding: bytes[end + 4..<end + 4 + length], as: UTF8.self), Array(bytes[(end + 4 + length)...]))
    }
}
