/** Plans for KubeVirt against the types of KubeVirt's own API, and for NixOS against Nix itself. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { GUEST_IOMMUS, GUESTS } from "@iommu-lab/host/plan";
import ts from "typescript";
import { afterAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { everything, fileOf, hosts, plansOf, type Wanted } from "./plan-cases.ts";

const hasNix = spawnSync("nix-instantiate", ["--version"]).status === 0;
if (!hasNix && process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error("nix-instantiate is not installed.");

/** The texts of one file in the plans of everything that the bundled hosts can give away, and of each function alone; each text once. */
const textsOf = (path: string, requests: readonly Wanted[]): readonly string[] => {
  const cases = requests.flatMap((wanted) => [...everything(wanted), ...hosts.flatMap((host) => plansOf(host, wanted))]);
  return [...new Set(cases.map((each) => fileOf(each, path).text))];
};

describe("KubeVirt's manifests", () => {
  const requests = GUESTS.flatMap((guest) => GUEST_IOMMUS.flatMap((guestIommu) => [false, true].map((hugepages) => ({ distro: "debian", target: "kubevirt", guest, guestIommu, hugepages }) as const)));
  const machines = textsOf("kubevirt-vm.yaml", requests);
  const devices = textsOf("kubevirt-permitted-devices.yaml", requests);
  const here = dirname(fileURLToPath(import.meta.url));

  /** What TypeScript says of values given the types of the API: fresh literals, so that an unknown field is an error. (The generated type of the KubeVirt object calls its configuration `_configuration`.) */
  const complaints = (values: readonly { readonly type: string; readonly value: unknown }[]): readonly string[] => {
    const path = join(here, "kubevirt-values.ts");
    const text = `import type { V1KubeVirtConfiguration, V1VirtualMachine } from "@kubevirt-ui/kubevirt-api/kubevirt/models/index.ts";\n${values.map(({ type, value }, i) => `export const value${i}: ${type} = ${JSON.stringify(value)};`).join("\n")}\n`;
    const options: ts.CompilerOptions = { strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, allowImportingTsExtensions: true, target: ts.ScriptTarget.ES2023, lib: ["lib.es2023.d.ts", "lib.dom.d.ts"], types: [] };
    const host = ts.createCompilerHost(options);
    const getSourceFile = host.getSourceFile.bind(host);
    host.getSourceFile = (name, ...rest) => (name === path ? ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true) : getSourceFile(name, ...rest));
    const program = ts.createProgram([path], options, host);
    const source = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  };

  test("each is one document of YAML without warnings", () => {
    expect([machines.length, devices.length].every((count) => count > 3), `${machines.length} machines, ${devices.length} lists`).toBe(true);
    for (const text of [...machines, ...devices]) {
      const documents = parseAllDocuments(text);
      expect(documents.map((each) => [...("errors" in each ? each.errors : []), ...("warnings" in each ? each.warnings : [])])).toEqual([[]]);
    }
  });

  test("every field is KubeVirt's, and of its type", () => {
    const values = [...machines.map((text) => ({ type: "V1VirtualMachine", value: parse(text) as unknown })), ...devices.map((text) => ({ type: "{ spec: { configuration: V1KubeVirtConfiguration } }", value: parse(text) as unknown }))];
    expect(complaints(values)).toEqual([]);
  });

  test("the types tell a wrong field and a wrong type", () => {
    const [machine = ""] = machines;
    const broken = [machine.replace("deviceName:", "deviceNames:"), machine.replace(/cores: (\d+)/, 'cores: "$1"'), machine.replace("runStrategy:", "runStrategies:")];
    for (const text of broken) expect(complaints([{ type: "V1VirtualMachine", value: parse(text) as unknown }])).toHaveLength(1);
  });

  interface Machine {
    readonly spec: { readonly template: { readonly spec: { readonly domain: { readonly devices: { readonly disks: readonly { readonly name: string }[]; readonly interfaces: readonly { readonly name: string }[]; readonly hostDevices: readonly { readonly name: string; readonly deviceName: string }[] } }; readonly networks: readonly { readonly name: string }[]; readonly volumes: readonly { readonly name: string }[] } } };
  }
  interface Permitted {
    readonly spec: { readonly configuration: { readonly permittedHostDevices: { readonly pciHostDevices: readonly { readonly pciVendorSelector: string; readonly resourceName: string }[] } } };
  }

  test("disks have volumes, interfaces have networks, names are DNS labels, and resources are those that are permitted", () => {
    const permitted = new Set(devices.flatMap((text) => (parse(text) as Permitted).spec.configuration.permittedHostDevices.pciHostDevices.map(({ resourceName }) => resourceName)));
    for (const text of machines) {
      const { domain, networks, volumes } = (parse(text) as Machine).spec.template.spec;
      const names = (of: readonly { readonly name: string }[]): readonly string[] => of.map(({ name }) => name);
      expect([names(domain.devices.disks), names(domain.devices.interfaces)]).toEqual([names(volumes), names(networks)]);
      const given = names(domain.devices.hostDevices);
      expect(new Set(given).size).toBe(given.length);
      for (const name of given) expect(name).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
      for (const { deviceName } of domain.devices.hostDevices) expect(permitted).toContain(deviceName);
    }
    for (const text of devices) for (const { pciVendorSelector } of (parse(text) as Permitted).spec.configuration.permittedHostDevices.pciHostDevices) expect(pciVendorSelector).toMatch(/^[0-9A-F]{4}:[0-9A-F]{4}$/);
  });
});

describe.skipIf(!hasNix)("NixOS's module", () => {
  const folder = mkdtempSync(join(tmpdir(), "iommu-nix-"));
  afterAll(() => { rmSync(folder, { recursive: true }); });
  const modules = textsOf("/etc/nixos/iommu-lab.nix", [false, true].map((hugepages) => ({ distro: "nixos", target: "libvirt", hugepages }) as const));

  interface Module {
    readonly boot: { readonly kernelParams: readonly string[]; readonly initrd: { readonly kernelModules: { readonly content: readonly string[] }; readonly services: { readonly udev: { readonly rules: string } } }; readonly extraModprobeConfig: string };
    readonly services: { readonly udev: { readonly extraRules: string } };
  }

  /** The module's value, with what of Nixpkgs' library it uses. */
  const evaluated = (text: string): Module => {
    const path = join(folder, "module.nix");
    writeFileSync(path, text);
    const lib = "{ mkBefore = content: { _type = \"order\"; inherit content; }; mkIf = condition: content: { _type = \"if\"; inherit condition content; }; }";
    const expression = `(import ${path}) { config = { boot.initrd.systemd.enable = false; }; lib = ${lib}; }`;
    const { status, stdout, stderr } = spawnSync("nix-instantiate", ["--eval", "--strict", "--json", "--read-write-mode", "-E", expression], { encoding: "utf8", env: { ...process.env, NIX_STORE_DIR: join(folder, "store"), NIX_STATE_DIR: join(folder, "state"), NIX_LOG_DIR: join(folder, "log"), NIX_CONF_DIR: folder, HOME: folder } });
    if (status !== 0) throw new Error(`${stderr}\n${text}`);
    return JSON.parse(stdout) as Module;
  };

  test("Nix reads every one, and its values are the plan's", () => {
    expect(modules.length).toBeGreaterThan(3);
    for (const text of modules) {
      const { boot, services } = evaluated(text);
      expect(boot.initrd.kernelModules.content).toEqual(["vfio_pci", "vfio", "vfio_iommu_type1"]);
      expect(boot.initrd.services.udev.rules).toBe(services.udev.extraRules);
      for (const rule of services.udev.extraRules.split("\n").filter((line) => !/^(?:#|$)/.test(line))) expect(rule).toMatch(/^ACTION==.*KERNEL=="[0-9a-f:.]+".*$/);
      for (const line of boot.extraModprobeConfig.split("\n").filter((each) => each !== "")) expect(line).toMatch(/^(?:options vfio-pci |softdep \S+ pre: vfio-pci$)/);
      expect(boot.kernelParams.every((each) => /^[\w.,:=-]+$/.test(each))).toBe(true);
    }
  });

  test("Nix refuses a module that is cut short", () => {
    expect(() => evaluated((modules[0] ?? "").slice(0, -4))).toThrow(/syntax error/);
  });
});
