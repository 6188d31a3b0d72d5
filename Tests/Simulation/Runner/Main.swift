// The command `sluice-simulate`: runs many schedules on all cores, or one of them with its transcript.

import Glibc

@main
struct Main {
    static func main() {
        do {
            let options = try Options(Array(CommandLine.arguments.dropFirst()))
            CrashNote.install()
            exit(options.seed.map(replay) ?? Campaign(options).run())
        } catch {
            print("simulate: \(error)")
            exit(2)
        }
    }

    /// Runs one schedule and prints what happened in it.
    private static func replay(_ seed: UInt64) -> Int32 {
        CrashNote.begin(slot: 0, seed: seed)
        let report = Simulation.run(seed: seed, keepsTranscript: true, printsIt: true)
        print("seed \(seed): \(report.jobs) jobs, transcript \(String(report.hash, radix: 16))")
        guard let violation = report.violation else { return 0 }
        print("seed \(seed): \(violation)")
        return 1
    }
}

/// The command line's options.
struct Options {
    struct Fault: Error, CustomStringConvertible { let description: String }

    /// The one schedule to replay.
    var seed: UInt64?
    /// How many schedules to run.
    var schedules: UInt64 = 100_000
    /// Seconds they may take; more is a failure. 0: no limit.
    var seconds: UInt64 = 0
    /// The first seed.
    var from = UInt64.random(in: 0..<1_000_000_000_000)
    /// Schedules that run at the same time.
    var threads = UInt64(Swift.max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst().flatMap({ UInt64($0) }) else { throw Fault(description: "\(name) needs a number") }
            switch name {
            case "--seed": seed = value
            case "--schedules": schedules = value
            case "--seconds": seconds = value
            case "--from": from = value
            case "--threads": threads = Swift.max(1, Swift.min(value, UInt64(CrashNote.slots)))
            default:
                throw Fault(
                    description:
                        "unknown option \(name); there are --seed, --schedules, --seconds, --from, --threads; each takes a number"
                )
            }
        }
    }
}
