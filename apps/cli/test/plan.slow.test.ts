/** Plans against the real tools: libvirt's schema and its translation to QEMU, QEMU itself, bash, shellcheck, modprobe, systemd. */
import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DISTROS, GUEST_IOMMUS, GUESTS, parseLibvirtVersion, TARGETS } from "@iommu-lab/host/plan";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { everything, fileOf, hosts, plansOf } from "./plan-cases.ts";

const has = (tool: string): boolean => spawnSync("sh", ["-c", `command -v ${tool}`]).status === 0;
const TOOLS = ["virt-xml-validate", "xmllint", "virsh", "qemu-system-x86_64", "shellcheck", "modprobe", "systemd-analyze"] as const;
const absent = TOOLS.filter((tool) => !has(tool));
if (absent.length > 0 && process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error(`${absent.join(", ")} is not installed.`);
const full = process.env.IOMMU_LAB_FULL !== undefined;

const folder = mkdtempSync(join(tmpdir(), "iommu-plan-"));
const run = (command: string, args: readonly string[], input?: string): SpawnSyncReturns<string> => spawnSync(command, args, { encoding: "utf8", timeout: 60_000, ...(input === undefined ? {} : { input }) });
const put = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

const domains = GUESTS.flatMap((guest) =>
  GUEST_IOMMUS.flatMap((guestIommu) =>
    [false, true].flatMap((hugepages) => {
      const more = { distro: "debian", target: "libvirt", guest, guestIommu, hugepages } as const;
      return [...everything(more), ...(full || (!hugepages && guest === "linux") ? hosts.flatMap((host) => plansOf(host, more)) : [])];
    }),
  ),
);

const kvm = existsSync("/dev/kvm");
const hugetlbfs = run("grep", ["-q", "hugetlbfs", "/proc/mounts"]).status === 0;
/** What this machine cannot do: KVM inside of it, huge pages. Neither moves a function. */
const forThisMachine = (xml: string): string => {
  const emulated = kvm ? xml : xml.replace("type='kvm'", "type='qemu'").replace("mode='host-passthrough' check='none' migratable='off'", "mode='maximum'");
  return hugetlbfs ? emulated : emulated.replace(/ *<memoryBacking>[^]*?<\/memoryBacking>\n/, "");
};

const root = join(folder, "libvirt");
const toQemu = (xml: string): SpawnSyncReturns<string> => run("virsh", ["-q", "-c", `qemu:///embed?root=${root}`, "domxml-to-native", "qemu-argv", put("domain.xml", forThisMachine(xml))]);

/** Splits a line of shell words as libvirt writes them. */
const words = (line: string): string[] => [...line.matchAll(/(?:[^\s'"\\]|\\.|'[^']*'|"[^"]*")+/g)].map(([word]) => word.replace(/'([^']*)'|"([^"]*)"|\\(.)/g, (_all, single: string | undefined, double: string | undefined, plain: string | undefined) => single ?? double ?? plain ?? ""));

const DEVICES = /^(?:pcie-root-port|pcie-pci-bridge|intel-iommu|virtio-iommu-pci|vfio-pci)\b/;

/** Of QEMU's arguments those about PCI, with a test device where the real one would be. */
const standIns = (args: readonly string[]): string[] =>
  args.flatMap((arg, i) => {
    const value = args[i + 1];
    if (arg !== "-device" || value === undefined) return [];
    const plain = value.startsWith("{") ? Object.entries(JSON.parse(value) as Record<string, unknown>).map(([key, each]) => (key === "driver" ? String(each) : `${key}=${typeof each === "boolean" ? (each ? "on" : "off") : String(each)}`)).join(",") : value;
    if (!DEVICES.test(plain)) return [];
    const fake = plain.startsWith("vfio-pci") ? plain.replace(/^vfio-pci/, "pci-testdev").split(",").filter((part) => !/^(?:host|rombar|romfile)=/.test(part)).join(",") : plain;
    // QEMU's own interpreter has no split interrupt controller, which extended interrupt mode needs.
    return ["-device", kvm ? fake : fake.replace(/,eim=on/, "")];
  });

interface Tree {
  /** "addr" properties of the stand-ins, in order. */
  readonly addresses: readonly string[];
  readonly text: string;
}

/** Starts QEMU, stopped, and reads its devices back. */
const readBack = (args: readonly string[]): Tree => {
  // Into a file: QEMU does not wait for a pipe's reader before it ends.
  const file = join(folder, "qtree");
  const output = openSync(file, "w");
  const { stderr, status } = spawnSync("qemu-system-x86_64", ["-machine", `q35,accel=${kvm ? "kvm,kernel_irqchip=split" : "tcg,kernel_irqchip=off"}`, "-m", "256", "-nodefaults", "-display", "none", "-S", "-monitor", "stdio", ...standIns(args)], { encoding: "utf8", timeout: 60_000, input: "info qtree\nquit\n", stdio: ["pipe", output, "pipe"] });
  closeSync(output);
  const stdout = readFileSync(file, "utf8");
  if (status !== 0) throw new Error(`${stderr}\n${standIns(args).join(" ")}`);
  const addresses = [...stdout.matchAll(/dev: pci-testdev[^]*?addr = ([0-9a-f.]+)/g)].map(([, at = ""]) => at);
  return { addresses, text: stdout };
};

/** A device's lines of QEMU's tree. */
const propertiesOf = ({ text }: Tree, device: string): string[] => (new RegExp(`dev: ${device}, [^]*?(?=dev: |$)`).exec(text)?.[0] ?? "").split("\n").map((line) => line.trim());

/** Guest addresses in a domain's XML: what the plan means. */
const meant = (xml: string): string[] => [...xml.matchAll(/<hostdev[^]*?<\/hostdev>/g)].map(([text]) => /<address type='pci'.*slot='0x([0-9a-f]{2})' function='0x([0-9a-f])'/.exec(text)).map((match) => `${match?.[1] ?? ""}.${match?.[2] ?? ""}`);

beforeAll(() => {
  mkdirSync(root, { recursive: true });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(absent.length > 0)("plans and the tools that read them", () => {
  test("every domain is valid by libvirt's schema", () => {
    expect(domains.length).toBeGreaterThan(20);
    for (const each of domains) {
      const { status, stdout, stderr } = run("virt-xml-validate", [put("domain.xml", fileOf(each, "guest.xml").text), "domain"]);
      expect({ status, said: `${stdout}${stderr}`.replaceAll(folder, ""), what: each.what }).toEqual({ status: 0, said: "/domain.xml validates\n", what: each.what });
    }
  });

  test("a guest with limited addresses and a large window is valid too", () => {
    const [host] = hosts;
    if (!host) return;
    const { functions } = host.snapshot;
    const wide = { ...host.snapshot, functions: functions.map((f) => (f.classCode === 0x03_0000 && f.vendor === 0x10de ? { ...f, resources: [{ start: 1n << 38n, end: (1n << 38n) + (1n << 35n) - 1n, flags: 0x14_220cn }] } : f)) };
    const [plan] = plansOf({ name: "wide", snapshot: wide }, { distro: "debian", target: "libvirt" }).filter((each) => fileOf(each, "guest.xml").text.includes("X-PciMmio64Mb"));
    expect(plan && run("virt-xml-validate", [put("domain.xml", fileOf(plan, "guest.xml").text), "domain"]).status).toBe(0);
    expect(plan && toQemu(fileOf(plan, "guest.xml").text).stdout).toContain("name=opt/ovmf/X-PciMmio64Mb,string=65536");
  });

  test("libvirt makes QEMU's arguments of every domain, and QEMU has each function where the plan puts it", () => {
    for (const each of full ? domains : domains.filter((_each, i) => i % 3 === 0)) {
      const xml = fileOf(each, "guest.xml").text;
      const { status, stdout, stderr } = toQemu(xml);
      expect({ status, errors: stderr.includes("error:") ? stderr : "", what: each.what }).toEqual({ status: 0, errors: "", what: each.what });
      const tree = readBack(words(stdout));
      expect({ what: each.what, at: [...tree.addresses].sort() }).toEqual({ what: each.what, at: [...meant(xml)].sort() });
      if (xml.includes("<iommu model='intel'>")) expect(propertiesOf(tree, "intel-iommu")).toEqual(expect.arrayContaining(["intremap = \"on\"", "device-iotlb = true", "aw-bits = 48 (0x30)", "caching-mode = true"]));
      if (xml.includes("<iommu model='virtio'>")) expect(tree.text).toContain("dev: virtio-iommu-pci");
    }
  });

  test("QEMU's own script says the same as the domain", () => {
    for (const guestIommu of GUEST_IOMMUS)
      for (const guest of GUESTS)
        for (const [i, each] of everything({ distro: "debian", target: "qemu", guest, guestIommu }).entries()) {
          const domain = everything({ distro: "debian", target: "libvirt", guest, guestIommu })[i];
          const script = put("start-guest.sh", fileOf(each, "start-guest.sh").text);
          const said = run("bash", ["-c", `QEMU=echo OVMF_CODE=/dev/null OVMF_VARS=/dev/null bash ${script}`]);
          expect({ status: said.status, stderr: said.stderr }).toEqual({ status: 0, stderr: "" });
          expect([...readBack(words(said.stdout)).addresses].sort(), `${each.what}: ${said.stdout}`).toEqual(domain ? meant(fileOf(domain, "guest.xml").text).sort() : []);
        }
  });

  test("every shell script is sound for bash and shellcheck", () => {
    const seen = new Set<string>();
    for (const distro of DISTROS)
      for (const target of TARGETS)
        for (const each of everything({ distro, target, hugepages: true }))
          for (const { path, text, mode } of each.plan.files) {
            if (!(mode === 0o755 || path.endsWith(".sh")) || seen.has(text)) continue;
            seen.add(text);
            const file = put("script.sh", text);
            expect({ path, ...pick(run("bash", ["-n", file])) }).toEqual({ path, status: 0, stdout: "", stderr: "" });
            expect({ path, ...pick(run("shellcheck", ["-e", "SC1091", file])) }).toEqual({ path, status: 0, stdout: "", stderr: "" });
          }
    expect(seen.size).toBeGreaterThan(20);
  });

  test("modprobe reads every configuration without a complaint", () => {
    for (const distro of DISTROS)
      for (const each of everything({ distro, target: "libvirt" })) {
        const text = each.plan.files.find(({ path }) => path.endsWith("/etc/modprobe.d/iommu-lab-vfio.conf"))?.text;
        if (text === undefined) continue;
        const at = join(folder, "modprobe.d");
        rmSync(at, { recursive: true, force: true });
        mkdirSync(at);
        writeFileSync(join(at, "x.conf"), text);
        const { stdout, stderr } = run("modprobe", ["--showconfig", "-C", at]);
        expect({ what: each.what, stderr }).toEqual({ what: each.what, stderr: "" });
        for (const line of text.split("\n").filter((each_) => /^(?:install|softdep)/.test(each_))) expect(stdout).toContain(line.replace(/^(install|softdep) (\S+)/, (_all, kind: string, name: string) => `${kind} ${name.replaceAll("-", "_")}`));
      }
  });

  test("systemd reads the guest's unit", () => {
    for (const each of everything({ distro: "debian", target: "qemu" })) {
      const { stderr, status } = run("systemd-analyze", ["verify", put("iommu-lab-guest.service", fileOf(each, "iommu-lab-guest.service").text)]);
      expect({ status, stderr: stderr.split("\n").filter((line) => line.includes("iommu-lab-guest") && !line.includes("start-guest.sh")) }).toEqual({ status: 0, stderr: [] });
    }
  });

  test("the version of libvirt decides what is written", () => {
    expect(["5.1", "5.2", "9.0", "10.10.0", "9", "x", ""].map(parseLibvirtVersion)).toEqual([undefined, [5, 2], [9, 0], [10, 10], [9, 0], undefined, undefined]);
  });
});

const pick = ({ status, stdout, stderr }: SpawnSyncReturns<string>): object => ({ status, stdout, stderr });
