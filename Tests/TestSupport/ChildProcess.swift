// Starts programs for tests, signals them by pid, and ends them with the test process.

public import Glibc
import Platform
internal import Synchronization

/// A program started by a test. Its standard output and standard error go to one file.
public final class ChildProcess: Sendable {
    /// How a process ended.
    public enum Ending: Sendable, Equatable, CustomStringConvertible {
        /// By itself.
        case exited(Int32)
        /// By a signal.
        case signalled(Int32)

        /// `exit code 1` or `signal 9`
        public var description: String {
            switch self {
            case .exited(let code): "exit code \(code)"
            case .signalled(let number): "signal \(number)"
            }
        }
    }

    /// What went wrong with a process.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        /// One sentence.
        public let description: String

        /// An error in a sentence.
        public init(_ description: String) { self.description = description }
    }

    /// The process number; another process may have it once this one has ended.
    public let pid: pid_t
    /// The file its output goes to.
    public let log: String
    private let endingOrNil = Mutex<Ending?>(nil)

    private init(pid: pid_t, log: String) {
        self.pid = pid
        self.log = log
    }

    /// `POSIX_SPAWN_SETSID`, which Swift's Glibc module lacks: signals to our process group, such as Ctrl-C, do not reach the child.
    private static let newSession: Int32 = 0x80

    /// Starts a program in a session of its own.
    /// - Parameters:
    ///   - environment: all of it, and the test's own `LD_LIBRARY_PATH`: what is tested loads the same libraries.
    ///   - log: a file to append standard output and standard error to.
    public static func start(
        _ program: String, _ arguments: [String], environment: [String: String], log: String
    ) throws -> ChildProcess {
        var environment = environment
        if let path = getenv("LD_LIBRARY_PATH") { environment["LD_LIBRARY_PATH"] = String(cString: path) }
        let pid = try spawn(program, arguments, environment, input: "/dev/null", log: log)
        let child = ChildProcess(pid: pid, log: log)
        Watchdog.shared.tell("+ \(pid)")
        do throws(SystemError) {
            try OwnedThread.start("reaper") { child.reap() }
        } catch {
            Glibc.kill(pid, SIGKILL)
            throw Failure("no thread could be started to wait for \(program): \(error)")
        }
        return child
    }

    /// How the process ended; `nil` while it runs.
    public var ending: Ending? { endingOrNil.withLock { $0 } }

    /// Everything it has written so far.
    public var output: String {
        guard let file = fopen(log, "r") else { return "" }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }

    /// Sends a signal; nothing happens where the process has ended.
    public func signal(_ number: Int32) {
        // The number stays the child's until it is reaped, which the lock forbids meanwhile.
        endingOrNil.withLock { ending in
            if ending == nil { Glibc.kill(pid, number) }
        }
    }

    /// Waits for the end.
    /// - Throws: `Failure` where it did not come in time.
    @discardableResult
    public func ended(within limit: Duration) async throws -> Ending {
        guard await eventually(within: limit, { self.ending != nil }), let ending else {
            throw Failure("process \(pid) did not end within \(limit); its output is in \(log)")
        }
        return ending
    }

    /// Kills it and waits until it has ended.
    public func kill() async {
        signal(SIGKILL)
        _ = await eventually(within: .seconds(10)) { self.ending != nil }
    }

    private func reap() {
        var information = siginfo_t()
        while waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        endingOrNil.withLock { ending in
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
            ending = status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .signalled(status & 0x7f)
        }
        Watchdog.shared.tell("- \(pid)")
    }

    /// Removes a file or a directory with all it holds when the test process is gone, after the children have been ended.
    public static func removeAtEnd(_ path: String) { Watchdog.shared.tell("r \(path)") }

    /// - Parameter input: a path, or a descriptor's number as `&N`.
    fileprivate static func spawn(
        _ program: String, _ arguments: [String], _ environment: [String: String], input: String, log: String
    ) throws -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(
            &attributes, Int16(Self.newSession | Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK)))
        var signals = sigset_t()
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if input.hasPrefix("&"), let descriptor = Int32(input.dropFirst()) {
            posix_spawn_file_actions_adddup2(&actions, descriptor, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        }
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var argv = ([program] + arguments).map { strdup($0) } + [nil]
        var environment = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + environment { free(pointer) } }
        var pid = pid_t()
        let error = posix_spawn(&pid, program, &actions, &attributes, &argv, &environment)
        guard error == 0 else { throw Failure("\(program) cannot be started: \(String(cString: strerror(error)))") }
        return pid
    }
}

/// A shell that outlives the test process: when the pipe to it is closed, however that process ends, it kills the children that still
/// run and removes temporary files.
private final class Watchdog: Sendable {
    static let shared = Watchdog()

    private static let script = """
        pids=' ' paths=()
        while read -r verb rest; do
            case $verb in
            +) pids="$pids$rest " ;;
            -) pids=${pids/ $rest / } ;;
            r) paths+=("$rest") ;;
            esac
        done
        for pid in $pids; do kill -KILL "$pid"; done
        ((${#paths[@]})) || exit 0
        for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "${paths[@]}" && break; sleep 0.2; done
        """

    private let descriptor: Mutex<Int32>

    private init() {
        // Writing to a watchdog that was killed must not end the tests.
        signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0, ends.allSatisfy({ fcntl($0, F_SETFD, FD_CLOEXEC) == 0 }) else {
            fatalError("no pipe for the watchdog of child processes: errno \(errno)")
        }
        descriptor = Mutex(ends[1])
        do {
            _ = try ChildProcess.spawn(
                "/bin/bash", ["-c", Self.script], ["PATH": "/usr/bin:/bin"], input: "&\(ends[0])", log: "/dev/null")
        } catch {
            fatalError("no watchdog for child processes: \(error)")
        }
        close(ends[0])
    }

    func tell(_ line: String) {
        descriptor.withLock { descriptor in
            let text = line + "\n"
            _ = write(descriptor, text, text.utf8.count)
        }
    }
}
