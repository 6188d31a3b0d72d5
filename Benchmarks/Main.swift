// The executable: command line, sections in order, exit codes.

import Foundation
import Glibc

@main
struct Main {
    static func main() async {
        do {
            let options = try Options.parse(Array(CommandLine.arguments.dropFirst()))
            guard let options else { return say(Options.help) }
            Children.endWithUs()
            exit(try await run(options) ? 0 : 1)
        } catch let error as BenchError where error.isUsage {
            complain(error)
            exit(2)
        } catch {
            Children.endAll()
            complain(error)
            exit(1)
        }
    }

    /// Runs the sections and writes the results. False if a figure of `micro` misses its aim by more than a factor of two.
    private static func run(_ options: Options) async throws -> Bool {
        var results = Results(machine: Machine.describe())
        say(results.machine.summary)
        if options.sections.contains(.micro) { results.micro = try await MicroBench(options).run() }
        if options.sections.contains(.loader) { results.loader = try await LoaderBench(options).run() }
        if options.sections.contains(.drain) { results.drain = try await DrainBench(options).run() }
        if options.sections.contains(.strategies) { results.strategies = try await StrategiesBench(options).run() }
        if options.sections.contains(.sparse) { results.sparse = try await SparseBench(options).run() }
        if options.sections.contains(.gaps) { results.gaps = try await GapsBench(options).run() }
        if options.sections.contains(.shapes) { results.shapes = try await ShapesBench(options).run() }
        if options.sections.contains(.skew) { results.skew = try await SkewBench(options).run() }
        if options.sections.contains(.latency) { results.latency = try await LatencyBench(options).run() }
        if options.sections.contains(.loadedLatency) { results.loadedLatency = try await LoadedLatencyBench(options).run() }
        if options.sections.contains(.budgets) { results.budgets = try await BudgetBench(options).run() }
        if options.sections.contains(.frozen) { results.frozen = try await FrozenBench(options).run() }
        if options.sections.contains(.shed) { results.shed = try await SheddingBench(options).run() }
        if options.sections.contains(.ingress) { results.ingress = try await IngressBench(options).run() }
        if options.sections.contains(.overload) { results.overload = try await OverloadBench(options).run() }
        try results.write(to: options.resultsDirectory)
        let broken = (results.micro ?? []).filter(\.isBroken)
        for figure in broken { complain("\(figure.name): \(figure.verdict)") }
        return broken.isEmpty
    }

    private static func complain(_ message: Any) { FileHandle.standardError.write(Data("sluice-bench: \(message)\n".utf8)) }
}

/// Prints a line at once: progress is read while it happens, also through a pipe.
func say(_ line: String) {
    print(line)
    fflush(nil)
}
