/** The layers of ARCHITECTURE.md as rules: what each package may import. */
const below = {
  memory: [],
  "pci-bus": ["memory"],
  "interrupt-remap": ["memory", "pci-bus"],
  "iommu-intel": ["memory", "pci-bus", "interrupt-remap"],
  "iommu-amd": ["memory", "pci-bus", "interrupt-remap"],
  "vga-arbiter": ["memory", "pci-bus"],
  vfio: ["memory", "pci-bus"],
  hypervisor: ["memory", "pci-bus", "interrupt-remap", "iommu-intel", "iommu-amd", "vga-arbiter", "vfio"],
  host: ["memory", "pci-bus", "interrupt-remap", "iommu-intel", "iommu-amd", "vga-arbiter", "vfio"],
};
const any = Object.keys(below);

module.exports = {
  forbidden: [
    { name: "no-circular", comment: "Files may name each other's types; they may not need each other to load.", severity: "error", from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
    { name: "no-package-cycle", severity: "error", from: { path: "^packages/([^/]+)/" }, to: { circular: true, via: { path: "^packages/(?!$1/)[^/]+/" } } },
    { name: "not-to-unresolvable", comment: "virtual: modules are made by the playground's build.", severity: "error", from: {}, to: { couldNotResolve: true, pathNot: "^virtual:" } },
    { name: "packages-run-anywhere", comment: "Packages import no Node builtin; adapters live in apps/cli. The exception: docs/decisions/008-engines.md.", severity: "error", from: { path: "^packages/[^/]+/src", pathNot: "^packages/hypervisor/src/engines/qemu/" }, to: { dependencyTypes: ["core"] } },
    { name: "packages-do-not-see-apps", severity: "error", from: { path: "^packages/" }, to: { path: "^apps/" } },
    { name: "apps-do-not-see-each-other", severity: "error", from: { path: "^apps/([^/]+)/" }, to: { path: "^apps/(?!$1/)" } },
    ...any.map((name) => ({
      name: `layer-${name}`,
      comment: `${name} may import ${below[name].join(", ") || "nothing of ours"}.`,
      severity: "error",
      from: { path: `^packages/${name}/src` },
      to: { path: `^packages/(${any.filter((other) => other !== name && !below[name].includes(other)).join("|")})/` },
    })),
  ],
  options: {
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: { conditionNames: ["@iommu-lab/source", "import", "default"], exportsFields: ["exports"], extensions: [".ts", ".tsx", ".js", ".json"] },
  },
};
