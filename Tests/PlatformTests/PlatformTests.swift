// Checks clocks, threads, files, JSON text and the seeded generator.

import Foundation
import Glibc
import Platform
import Synchronization
import Testing

@Suite struct PlatformTests {
    @Test func durationsAreClampedToWhatInt64Holds() {
        #expect(Duration.zero.nanoseconds == 0)
        #expect(Duration.seconds(-1).nanoseconds == 0)
        #expect(Duration.milliseconds(1500).nanoseconds == 1_500_000_000)
        #expect(Duration.seconds(Int64.max).nanoseconds == UInt64(Int64.max))
        #expect(Duration.nanoseconds(Int64.max).nanoseconds == UInt64(Int64.max))
        #expect(Duration.nanoseconds(1).milliseconds == 1)
        #expect(Duration.milliseconds(7).milliseconds == 7)
        #expect(Duration.milliseconds(250).inSeconds == 0.25)
    }

    @Test func aThreadHasItsNameAndNoSignals() async throws {
        let (name, mask) = await withCheckedContinuation { (continuation: CheckedContinuation<([UInt8], sigset_t), Never>) in
            do {
                try OwnedThread.start("a-name-of-15-by-too-long") {
                    var mask = sigset_t()
                    pthread_sigmask(SIG_SETMASK, nil, &mask)
                    let name = try? SmallFile.read("/proc/thread-self/comm")
                    continuation.resume(returning: (name ?? [], mask))
                }
            } catch {
                Issue.record("\(error)")
            }
        }
        #expect(String(decoding: name, as: UTF8.self) == "a-name-of-15-by\n")
        var set = mask
        #expect([SIGTERM, SIGINT, SIGHUP, SIGPIPE].allSatisfy { sigismember(&set, $0) == 1 })
        #expect([SIGSEGV, SIGABRT].allSatisfy { sigismember(&set, $0) == 0 })
    }

    @Test func startingAThreadLeavesTheCallersSignalMask() throws {
        var before = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &before)
        try OwnedThread.start("short") {}
        var after = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &after)
        #expect((1...31).allSatisfy { sigismember(&before, $0) == sigismember(&after, $0) })
    }

    @Test func aProgramsOutputIsReadAndItsComplaintNamed() throws {
        func output(_ words: String..., within timeout: Duration = .seconds(30)) throws -> String {
            // Nothing is ever written into the pipe.
            let silent = Pipe()
            return try SecretProgram(words).output(
                deadline: MonotonicClock.nanoseconds() + timeout.nanoseconds, timeout: timeout,
                interrupt: silent.fileHandleForReading.fileDescriptor)
        }
        #expect(try output("printf", "one\ntwo\r\n") == "one\ntwo")
        #expect(try output("true") == "")
        #expect(try output("sh", "-c", "yes | head -c 65536").utf8.count == 65_535)
        for script in ["yes | head -c 65537", "printf '\\377'", "printf 'a\\000b'"] {
            #expect(throws: SecretProgram.Failure.notText) { try output("sh", "-c", script) }
        }
        // Of a long complaint the end is kept, without lines that say nothing.
        let long = "yes complaint | head -c 100000 >&2; echo 'the reason' >&2; printf '\\n  \\n' >&2; exit 7"
        #expect(throws: SecretProgram.Failure.failed(how: "exit status 7", complaint: "the reason")) {
            try output("sh", "-c", long)
        }
        #expect(throws: SecretProgram.Failure.failed(how: "signal 15", complaint: "no message")) {
            try output("sh", "-c", "kill -TERM $$")
        }
        #expect(throws: SecretProgram.Failure.cannotStart(SystemError(ENOENT))) { try output("/no/such/program") }
        #expect(throws: SecretProgram.Failure.late(.milliseconds(100))) { try output("sleep", "600", within: .milliseconds(100)) }
    }

    @Test func aProgramEndsWithTheInterrupt() throws {
        let interrupt = Pipe()
        try interrupt.fileHandleForWriting.write(contentsOf: [1])
        #expect(throws: SecretProgram.Failure.interrupted) {
            try SecretProgram(["sleep", "600"]).output(
                deadline: .max, timeout: .seconds(600), interrupt: interrupt.fileHandleForReading.fileDescriptor)
        }
    }

    @Test func filesAreReadWholeOrRefused() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "small-file-\(getpid())").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let content = (0..<40_000).map { UInt8(truncatingIfNeeded: $0) }
        try Data(content).write(to: URL(fileURLWithPath: path))
        #expect(try SmallFile.read(path) == content)
        #expect(try SmallFile.read(path, atMost: 40_000) == content)
        #expect(throws: SmallFile.Failure.tooLarge(limit: 39_999)) { try SmallFile.read(path, atMost: 39_999) }
        #expect(throws: SmallFile.Failure.cannotOpen(SystemError(ENOENT))) { try SmallFile.read(path + ".missing") }
        #expect(throws: SmallFile.Failure.cannotRead(SystemError(EISDIR))) { try SmallFile.read("/proc") }
        #expect("\(SmallFile.Failure.cannotOpen(SystemError(ENOENT)))" == "cannot be opened: No such file or directory")
    }

    @Test func quotedTextIsJSONAndOneLine() throws {
        let all = (0..<0x3000).compactMap(Unicode.Scalar.init) + ["\u{FEFF}", "\u{1F600}"]
        let text = String(String.UnicodeScalarView(all))
        let quoted = JSONText.quoted(text)
        #expect(!quoted.unicodeScalars.contains(where: JSONText.isControl))
        let read = try JSONSerialization.jsonObject(with: Data(quoted.utf8), options: .fragmentsAllowed) as? String
        #expect(read.map { Array($0.unicodeScalars) } == all)
        #expect(JSONText.quoted("a b") == "\"a b\"")
        #expect(JSONText.quoted("\u{1B}\"\\\n") == #""\u001b\"\\\n""#)
    }

    /// The first numbers of seed 1234567 as https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64 lists them.
    @Test func theSequenceOfASeedIsSplitMix64s() {
        var random = SplitMix64(seed: 1_234_567)
        #expect(
            (0..<3).map { _ in random.next() } == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            ])
    }
}
