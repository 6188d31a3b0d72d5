// swift-tools-version: 6.2
import PackageDescription

// No outside Swift package: the toolchain's modules and Debian's C libraries are the whole supply (see README, Dependencies).

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
    // Generics of one module are specialised in another: a tenth of the worker's CPU, half of the simulation's. That no two accesses to one
    // variable overlap is checked in debug builds, by every test; checking it at each access costs 6 % of the instructions of a request.
    .unsafeFlags(["-cross-module-optimization", "-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

/// A C library of the distribution, found by pkg-config and installed by apt.
func system(_ name: String, pkgConfig: String, apt: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt])])
}

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name + "Tests", dependencies: dependencies + ["TestSupport"], swiftSettings: strict)
}

let package = Package(
    name: "sluice",
    products: [
        .executable(name: "sluice", targets: ["sluice"]),
        .executable(name: "sluice-loadtest", targets: ["sluice-loadtest"]),
        .executable(name: "sluice-bench", targets: ["sluice-bench"]),
    ],
    targets: [
        system("CKafka", pkgConfig: "rdkafka", apt: "librdkafka-dev"),
        system("CPq", pkgConfig: "libpq", apt: "libpq-dev"),
        system("CMicrohttpd", pkgConfig: "libmicrohttpd", apt: "libmicrohttpd-dev"),
        system("CZlib", pkgConfig: "zlib", apt: "zlib1g-dev"),
        system("CNettle", pkgConfig: "nettle", apt: "nettle-dev"),
        system("CYaml", pkgConfig: "yaml-0.1", apt: "libyaml-dev"),
        system("CSystemd", pkgConfig: "libsystemd", apt: "libsystemd-dev"),
        system("CCurl", pkgConfig: "libcurl", apt: "libcurl4-openssl-dev"),
        .target(name: "CSimdjson", cxxSettings: [.define("NDEBUG")], linkerSettings: [.linkedLibrary("simdjson")]),

        library("Records"),
        library("Backpressure"),
        library("Platform"),
        library("Admission", ["Backpressure", "Platform"]),
        library("Telemetry", ["Platform"]),
        library("Settings", ["CYaml", "Platform"]),
        library("CommandLine", ["Platform", "Settings"]),
        library("ServiceManager", ["CSystemd"]),
        library("Kafka", ["Backpressure", "CKafka", "Platform", "Records", "Telemetry"]),
        library("Postgres", ["CPq", "Platform", "Records", "Telemetry"]),
        library("HTTPServer", ["CMicrohttpd", "CZlib", "Platform", "Telemetry"]),
        library("Decode", ["CNettle", "CSimdjson", "Platform", "Records", "Settings"]),
        library("SluiceTables", ["Platform", "Postgres", "Records", "Telemetry"]),
        library("Apply", ["Platform", "Postgres", "Records", "SluiceTables"]),
        library("Pipeline", ["Records", "Backpressure"]),

        .executableTarget(
            name: "sluice",
            dependencies: [
                "Admission", "Apply", "Backpressure", "CommandLine", "Decode", "HTTPServer", "Kafka", "Pipeline", "Platform",
                "Postgres", "Records", "ServiceManager", "Settings", "SluiceTables", "Telemetry",
            ],
            path: "Sources/Processor",
            swiftSettings: strict),
        .executableTarget(
            name: "sluice-loadtest",
            dependencies: ["CCurl", "CommandLine", "Kafka", "Platform", "Postgres", "Records"],
            path: "loadtest",
            swiftSettings: strict),
        .executableTarget(
            name: "sluice-bench",
            dependencies: [
                "Admission", "Apply", "Backpressure", "Decode", "Kafka", "Pipeline", "Platform", "Postgres", "Records",
                "Settings", "SluiceTables",
            ],
            path: "Benchmarks",
            exclude: ["results", "Bare"],
            swiftSettings: strict),

        .executableTarget(
            name: "sluice-simulate",
            dependencies: ["Backpressure", "Kafka", "Pipeline", "Platform", "Records"],
            path: "Tests/Simulation",
            swiftSettings: strict),
        .target(
            name: "TestSupport",
            dependencies: ["Kafka", "Platform", "Postgres", "Records", "SluiceTables"],
            path: "Tests/TestSupport",
            swiftSettings: strict),
        tests("Records", ["Records"]),
        tests("Platform", ["Platform"]),
        tests("Backpressure", ["Backpressure"]),
        tests("Admission", ["Admission", "Backpressure"]),
        tests("Telemetry", ["Platform", "Telemetry"]),
        tests("Settings", ["Platform", "Settings"]),
        tests("CommandLine", ["CommandLine"]),
        tests("Kafka", ["Kafka", "Platform", "Records", "Telemetry"]),
        tests("Postgres", ["Postgres", "Records", "Telemetry"]),
        tests("HTTPServer", ["CZlib", "HTTPServer", "Platform"]),
        tests("Decode", ["Decode", "Records", "Settings"]),
        tests("SluiceTables", ["SluiceTables", "Postgres", "Records"]),
        tests("Apply", ["Apply", "Decode", "Postgres", "Records", "Settings", "SluiceTables"]),
        tests("Pipeline", ["Pipeline", "Records", "Backpressure", "sluice-simulate"]),
        tests(
            "Processor",
            [
                "sluice", "Admission", "Apply", "Backpressure", "CommandLine", "Decode", "HTTPServer", "Kafka", "Pipeline",
                "Platform", "Postgres", "Records", "Settings", "SluiceTables", "Telemetry",
            ]),
        tests("Loadtest", ["sluice-loadtest", "CCurl", "CommandLine", "Kafka", "Platform", "Postgres", "Records"]),
        tests("Bench", ["sluice-bench"]),
        tests("Integration", ["Kafka", "Postgres", "Records"]),
    ],
    cxxLanguageStandard: .cxx17
)

// SwiftPM links all tests of a package into one program. `scripts/tsan` names those that it needs, so that only they and what they depend
// on are built again under a sanitizer.
if let tests = Context.environment["SLUICE_ONLY_TESTS"] {
    var needed: Set<String> = []
    var pending = tests.split(separator: " ").map(String.init)
    while let name = pending.popLast() {
        guard needed.insert(name).inserted else { continue }
        for case .byNameItem(let dependency, _) in package.targets.first(where: { $0.name == name })?.dependencies ?? [] {
            pending.append(dependency)
        }
    }
    package.products = []
    package.targets.removeAll { !needed.contains($0.name) }
}
