// Runs a program whose output is a secret, under a deadline.

@preconcurrency internal import Glibc

/// A program and its arguments, run without a shell. No error quotes what it prints.
public struct SecretProgram: Sendable {
    /// Why there is no output.
    public enum Failure: Error, Sendable, Equatable, CustomStringConvertible {
        case cannotStart(SystemError)
        case noPipe(SystemError)
        /// How it ended, and the last line that it wrote to standard error.
        case failed(how: String, complaint: String)
        case late(Duration)
        case interrupted
        /// It printed something else than UTF-8, or more than ``SecretProgram/longestOutput``.
        case notText

        /// The predicate of a sentence whose subject is the program.
        public var description: String {
            switch self {
            case .cannotStart(let error): "cannot be started: \(error)"
            case .noPipe(let error): "cannot be started: no pipe: \(error); raise the limit of open files"
            case .failed(let how, let complaint): "failed with \(how): \(complaint)"
            case .late(let timeout): "has not ended within \(timeout)"
            case .interrupted: "was ended because nobody waits for its output any more"
            case .notText: "has printed something that is not text, or more than \(SecretProgram.longestOutput) bytes"
            }
        }
    }

    /// The most bytes of an output.
    public static let longestOutput = 64 << 10
    /// The most bytes that are kept of what it writes to standard error.
    private static let longestComplaint = 4_096
    /// How often it is looked whether the program has ended: a process it leaves behind may hold its pipes open.
    private static let checkMilliseconds: Int32 = 10

    private let words: [String]

    /// - Parameter words: the program, searched in PATH, and its arguments. At least one.
    public init(_ words: [String]) { self.words = words }

    /// The program without its arguments.
    public var name: String { words[0] }

    /// What the program prints, without a line break at its end. Blocks until it has ended; at the deadline it is killed, with its children.
    /// - Parameters:
    ///   - deadline: monotonic nanoseconds.
    ///   - timeout: the time that ends with the deadline, for the error.
    ///   - interrupt: a descriptor; once it can be read, the program is killed.
    public func output(deadline: UInt64, timeout: Duration, interrupt: Int32) throws(Failure) -> String {
        let output = try PipeHandle()
        let errors = try PipeHandle()
        let child = try start(output, errors)
        var (printed, complaint) = ([UInt8](), [UInt8]())
        let ending = Self.watch(deadline: deadline, interrupt: interrupt, child) {
            output.drain { printed += $0.prefix(Self.longestOutput + 1 - printed.count) }
            errors.drain {
                complaint += $0
                complaint.removeFirst(max(0, complaint.count - Self.longestComplaint))
            }
        }
        switch ending {
        case .interrupted: throw .interrupted
        case .deadlinePassed: throw .late(timeout)
        case .ended(let status):
            guard status == 0 else {
                let how = status & 0x7f == 0 ? "exit status \((status >> 8) & 0xff)" : "signal \(status & 0x7f)"
                throw .failed(how: how, complaint: Self.lastLine(complaint))
            }
        }
        if printed.last == UInt8(ascii: "\n") { printed.removeLast() }
        if printed.last == UInt8(ascii: "\r") { printed.removeLast() }
        guard printed.count <= Self.longestOutput, !printed.contains(0), let text = String(validating: printed, as: UTF8.self)
        else { throw .notText }
        return text
    }

    private static func lastLine(_ bytes: [UInt8]) -> String {
        let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
        let last = lines.last { line in line.contains { !$0.isWhitespace } }
        return last.map { String($0.prefix(200)) } ?? "no message"
    }

    private enum Ending {
        /// As `waitpid` tells it.
        case ended(status: Int32)
        case deadlinePassed
        case interrupted
    }

    /// Reads until the program has ended. One that has not in time is killed; none is left behind.
    private static func watch(deadline: UInt64, interrupt: Int32, _ child: pid_t, drain: () -> Void) -> Ending {
        var status: Int32 = 0
        while true {
            drain()
            let ended = waitpid(child, &status, WNOHANG)
            // Where SIGCHLD is ignored the kernel has reaped it.
            let isReaped = ended < 0 && errno == ECHILD
            if isReaped || ended == child {
                // What it wrote before its end is in the pipes.
                drain()
                return .ended(status: isReaped ? 0 : status)
            }
            let isLate = MonotonicClock.nanoseconds() >= deadline
            var descriptor = pollfd(fd: interrupt, events: Int16(POLLIN), revents: 0)
            if isLate || poll(&descriptor, 1, checkMilliseconds) > 0 {
                // It leads a process group of its own.
                kill(-child, SIGKILL)
                while waitpid(child, &status, 0) < 0 && errno == EINTR {}
                return isLate ? .deadlinePassed : .interrupted
            }
        }
    }

    private func start(_ output: borrowing PipeHandle, _ errors: borrowing PipeHandle) throws(Failure) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output.writer, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, errors.writer, STDERR_FILENO)
        // Signals that this process ignores or blocks mean to the program what they usually do.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for signal in [SIGPIPE, SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, signal) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var arguments = words.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        let code = posix_spawnp(&child, words[0], &actions, &attributes, arguments, environ)
        guard code == 0 else { throw .cannotStart(SystemError(code)) }
        return child
    }
}

/// A pipe from a program to this process; reading it never blocks.
private struct PipeHandle: ~Copyable {
    let reader: Int32
    let writer: Int32

    init() throws(SecretProgram.Failure) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw .noPipe(SystemError(errno)) }
        (reader, writer) = (ends[0], ends[1])
        _ = fcntl(reader, F_SETFL, O_NONBLOCK)
        // A program that another thread starts before this line keeps the ends open. Nothing waits for their closing.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    }

    deinit {
        close(reader)
        close(writer)
    }

    /// Hands over what has been written. Reads a bounded amount, so that a program that never ceases to write is ended at its deadline.
    func drain(_ receive: ([UInt8]) -> Void) {
        for _ in 0..<16 {
            var count = 0
            let piece = [UInt8](unsafeUninitializedCapacity: 4_096) { buffer, filled in
                count = read(reader, buffer.baseAddress, buffer.count)
                filled = max(count, 0)
            }
            if count <= 0 { return }
            receive(piece)
        }
    }
}
