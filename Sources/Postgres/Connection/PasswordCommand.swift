// Runs the program whose output is the password, under a deadline.

@preconcurrency internal import Glibc
internal import Platform

/// A program and its arguments, run without a shell.
struct PasswordCommand {
    /// The most bytes of a password.
    private static let longestPassword = 64 << 10
    /// How often it is looked whether the program has ended: a process it leaves behind may hold its pipes open.
    private static let checkMilliseconds: Int32 = 10

    private let words: [String]

    /// - Parameter words: the program, searched in PATH, and its arguments. At least one.
    init(_ words: [String]) { self.words = words }

    private var name: String { "postgres.password_command \(words[0])" }

    /// What the program prints, without a line break at its end. Blocks until it has ended; at the deadline it is killed, with its children.
    /// - Parameter deadline: monotonic nanoseconds.
    func password(deadline: UInt64, timeout: Duration, interrupt: borrowing InterruptHandle) throws(PostgresError) -> String {
        let output = try PipeHandle()
        let errors = try PipeHandle()
        let child = try start(output, errors)
        var (printed, complaint) = ([UInt8](), [UInt8]())
        let ending = Self.watch(deadline: deadline, interrupt: interrupt, child, output.reader, errors.reader) {
            output.drain(into: &printed, keeping: Self.longestPassword + 1)
            errors.drain(into: &complaint, keeping: 1_000)
        }
        switch ending {
        case .interrupted: throw .closed("connecting was cancelled by its owner")
        case .deadlinePassed: throw PostgresError(.timeout, "\(name) has not ended within \(timeout)")
        case .ended(let status):
            guard status == 0 else {
                let how = status & 0x7f == 0 ? "exit status \((status >> 8) & 0xff)" : "signal \(status & 0x7f)"
                throw PostgresError(
                    .connection,
                    "\(name) failed with \(how): \(firstLine(String(decoding: complaint.prefix(200), as: UTF8.self)))")
            }
        }
        if printed.last == UInt8(ascii: "\n") { printed.removeLast() }
        if printed.last == UInt8(ascii: "\r") { printed.removeLast() }
        guard !printed.isEmpty else { throw PostgresError(.connection, "\(name) has printed no password") }
        guard printed.count <= Self.longestPassword, !printed.contains(0), !printed.contains(UInt8(ascii: "\n")),
            let password = String(validating: printed, as: UTF8.self)
        else { throw PostgresError(.connection, "what \(name) has printed is not one line of text") }
        return password
    }

    private enum Ending {
        /// As `waitpid` tells it.
        case ended(status: Int32)
        case deadlinePassed
        case interrupted
    }

    /// Reads until the program has ended. One that has not in time is killed; none is left behind.
    private static func watch(
        deadline: UInt64, interrupt: borrowing InterruptHandle, _ child: pid_t, _ output: Int32, _ errors: Int32,
        drain: () -> Void
    ) -> Ending {
        var status: Int32 = 0
        while true {
            drain()
            let ended = waitpid(child, &status, WNOHANG)
            // Where SIGCHLD is ignored the kernel has reaped it.
            if ended < 0, errno == ECHILD { return .ended(status: 0) }
            if ended == child {
                // What it wrote before its end is in the pipes.
                drain()
                return .ended(status: status)
            }
            let isLate = MonotonicClock.nanoseconds() >= deadline
            var descriptor = pollfd(fd: interrupt.descriptor, events: Int16(POLLIN), revents: 0)
            if isLate || poll(&descriptor, 1, checkMilliseconds) > 0 {
                // It leads a process group of its own.
                kill(-child, SIGKILL)
                while waitpid(child, &status, 0) < 0 && errno == EINTR {}
                return isLate ? .deadlinePassed : .interrupted
            }
        }
    }

    private func start(_ output: borrowing PipeHandle, _ errors: borrowing PipeHandle) throws(PostgresError) -> pid_t {
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
        guard code == 0 else {
            throw PostgresError(.connection, "\(name) cannot be started: \(String(cString: strerror(code)))")
        }
        return child
    }
}

/// A pipe from a program to this process; reading it never blocks.
private struct PipeHandle: ~Copyable {
    let reader: Int32
    let writer: Int32

    init() throws(PostgresError) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else {
            throw PostgresError(.connection, "no pipe: \(String(cString: strerror(errno))); raise the limit of open files")
        }
        (reader, writer) = (ends[0], ends[1])
        _ = fcntl(reader, F_SETFL, O_NONBLOCK)
        // A program that another thread starts before this line keeps the ends open. Nothing waits for their closing.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    }

    deinit {
        close(reader)
        close(writer)
    }

    /// Appends what has been written, and drops what is beyond the limit. Reads a bounded amount, so that a program that never ceases to
    /// write is ended at its deadline.
    func drain(into bytes: inout [UInt8], keeping limit: Int) {
        for _ in 0..<16 {
            var count = 0
            let piece = [UInt8](unsafeUninitializedCapacity: 4_096) { buffer, filled in
                count = read(reader, buffer.baseAddress, buffer.count)
                filled = max(count, 0)
            }
            if count <= 0 { return }
            bytes += piece.prefix(max(0, limit - bytes.count))
        }
    }
}
