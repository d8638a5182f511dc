/** Pastes as people make them; every machine in them is invented. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { diagnose, gatherHost, looksLikeQemuCommand, parseDomainXml, parseQemuCommand, recogniseText, type Piece } from "../../src/doctor/index.ts";
import { dmar, drhd } from "../acpi-bytes.ts";
import { answerOf, boot, GUEST, hostdev } from "../doctor/sound-host.ts";

const LSPCI = "00:00.0 Host bridge [0600]: Intel Corporation Device [8086:3ec2]\n00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:1901]\n01:00.0 VGA compatible controller [0300]: NVIDIA Corporation Device [10de:1402]\n";
const LISTING = "/sys/kernel/iommu_groups/0/devices/0000:00:00.0\n/sys/kernel/iommu_groups/1/devices/0000:00:01.0\n/sys/kernel/iommu_groups/1/devices/0000:01:00.0\n";
const QEMU = "qemu-system-x86_64 -machine q35,accel=kvm,kernel_irqchip=split -m 8G \\\n  -device intel-iommu,intremap=on,caching-mode=on -device pcie-root-port,id=rp1,chassis=1 -device vfio-pci,host=01:00.0,bus=rp1,addr=0.0,multifunction=on,romfile=/x.rom -cpu host,kvm=off,hv_vendor_id=x";

const KINDS: readonly (readonly [text: string, kinds: readonly string[]])[] = [
  [LSPCI, ["lspci"]],
  [LISTING, ["IOMMU groups"]],
  [boot.join("\n"), ["kernel log"]],
  ["BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro intel_iommu=on\n", ["/proc/cmdline"]],
  ["root@box:~# cat /proc/cmdline\nquiet amd_iommu=on\nroot@box:~#\n", ["/proc/cmdline"]],
  ["quiet splash iommu=pt\n", ["/proc/cmdline"]],
  ["processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: svm\n", ["/proc/cpuinfo"]],
  ["MemTotal:       32768000 kB\nHugePages_Free:     12\nHugepagesize:       2048 kB\n", ["/proc/meminfo"]],
  ["           CPU0       CPU1\n 24:          1          0  IR-PCI-MSI 4096-edge      x\n", ["/proc/interrupts"]],
  ["00000000-00000fff : Reserved\n00001000-0009ffff : System RAM\n", ["/proc/iomem"]],
  ["/dev/sda1 / ext4 rw,relatime 0 0\n", ["/proc/mounts"]],
  ["options vfio-pci ids=10de:1402\nsoftdep nouveau pre: vfio-pci\n", ["modprobe.d"]],
  ["crw-rw-rw- 1 root root 10, 196 Nov 21 10:00 vfio\n", ["ls -l /dev/vfio"]],
  ["CONFIG_VFIO_PCI=m\n", ["kernel configuration"]],
  ["6.12.5-arch1-1\n", ["uname"]],
  [GUEST(), ["libvirt domain XML"]],
  [`# virsh dumpxml win10\n${GUEST()}\n`, ["libvirt domain XML"]],
  [QEMU, ["QEMU command line"]],
  [`My box:\n${LSPCI}\n$ cat /proc/cmdline\nBOOT_IMAGE=/vmlinuz ro\n`, ["lspci", "/proc/cmdline"]],
];

const text = (each: string): Piece => ({ kind: "text", recognised: recogniseText(each, "paste") });

describe("recogniseText", () => {
  test.each(KINDS)("knows what %j is", (paste, kinds) => {
    expect(recogniseText(paste, "paste").kinds).toEqual(kinds);
  });

  test.each(["", "hello\n", "see you at 10:00.0\n", "<html><body>domain type</body></html>", "the root=cause of it\nis quiet\n"])("takes %j for nothing", (paste) => {
    expect(recogniseText(paste, "paste").kinds).toEqual([]);
  });

  test.each(KINDS)("Windows' line ends change nothing in %j", (paste, kinds) => {
    expect(recogniseText(paste.replaceAll("\n", "\r\n"), "paste").kinds).toEqual(kinds);
  });

  test("damaged XML is told, not thrown", () => {
    expect(recogniseText("<domain type='kvm'><memory>1</domain>", "vm.xml").warnings).toHaveLength(1);
  });

  test("cut, joined and hostile texts do no harm", () => {
    const all = KINDS.map(([paste]) => paste);
    fc.assert(
      fc.property(fc.constantFrom(...all), fc.constantFrom(...all), fc.nat(400), fc.string({ maxLength: 60, unit: "binary" }), (a, b, at, rest) => {
        const piece = text(a.slice(0, at) + rest + b);
        for (const snapshot of gatherHost("paste", [piece]).snapshots) expect(diagnose(snapshot).verdict).not.toBe("ready");
      }),
      { numRuns: 300 },
    );
  });

  test("a megabyte of one line takes no time", () => {
    for (const part of ["a ", "qemu-kvm -device ", "0: 1 ", "<domain type='kvm'>", "/dev/a / "]) expect(() => recogniseText(part.repeat(60_000), "paste")).not.toThrow();
  });
});

describe("gatherHost", () => {
  test("lspci and a listing of groups are one machine", () => {
    const { snapshots, recognised } = gatherHost("two", [{ kind: "text", recognised: recogniseText(LSPCI, "a") }, { kind: "text", recognised: recogniseText(LISTING, "b") }]);
    expect(snapshots).toHaveLength(1);
    expect(snapshots[0]?.functions.map(({ group }) => group)).toEqual([0, 1, 1]);
    expect(recognised).toEqual(["lspci", "IOMMU groups"]);
  });

  test("pieces fill each other's holes", () => {
    const [snapshot] = gatherHost("x", [text(LSPCI), text(boot.join("\n")), text("processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: vmx\n"), { kind: "table", signature: "DMAR", bytes: dmar(drhd(true)) }]).snapshots;
    expect(snapshot).toBeDefined();
    if (!snapshot) return;
    const diagnosis = diagnose(snapshot);
    expect(["HOST-001", "HOST-014", "IRQ-001"].map((id) => answerOf(diagnosis, id).status)).toEqual(["pass", "pass", "pass"]);
    expect(snapshot.kernelRelease).toBe("6.12.0");
    expect(snapshot.commandLine).toBe("quiet intel_iommu=on");
  });

  test("a sound machine of which no function was shown is not ready", () => {
    const [snapshot] = gatherHost("x", [text(`${boot.join("\n")}\nvendor_id\t: GenuineIntel\nflags\t\t: vmx\n`)]).snapshots;
    const diagnosis = snapshot && diagnose(snapshot);
    expect([diagnosis?.hostVerdict, diagnosis?.verdict]).toEqual(["ready", "not-enough-data"]);
  });

  test("a log alone says what is missing, and is not enough", () => {
    const [snapshot] = gatherHost("x", [text(boot.join("\n"))]).snapshots;
    expect(snapshot?.missing.map(({ what }) => what)).toContainEqual(expect.stringContaining("lspci"));
    expect(snapshot && diagnose(snapshot).verdict).toBe("not-enough-data");
  });
});

describe("parseDomainXml", () => {
  test("reads what the rules ask for", () => {
    const guest = parseDomainXml(GUEST({ devices: "<iommu model='intel'><driver intremap='on' caching_mode='on'/></iommu>", hostdev: hostdev("0000:01:00.0", 1, 0, 0), rest: "<numatune><memory mode='strict' nodeset='0-1,3'/></numatune>" }), "x");
    expect(guest).toMatchObject({ memoryBytes: 4n << 30n, firmware: "uefi", balloon: false, kvmHidden: true, splitIrqchip: true, nodes: [0, 1, 3], viommu: { model: "intel", intremap: true, cachingMode: true }, devices: [{ host: "0000:01:00.0", guest: { bus: 1, slot: 0, function: 0 } }] });
  });

  test.each([["<memory>1048576</memory>", 1n << 30n], ["<memory unit='MB'>1</memory>", 1_000_000n], ["<memory unit='b'>4096</memory>", 4096n], ["<memory unit='furlong'>1</memory>", undefined], ["<memory>-1</memory>", undefined]])("%s", (xml, bytes) => {
    expect(parseDomainXml(`<domain type='kvm'>${xml}</domain>`, "x").memoryBytes).toBe(bytes);
  });

  test.each(["", "<a/>", "<domain type='kvm'>", "<domain type='kvm'><!DOCTYPE x [<!ENTITY a 'b'>]>&a;</domain>", `<domain type='kvm'>${"<a>".repeat(100)}`])("refuses %j with its own error", (xml) => {
    expect(() => parseDomainXml(xml, "x")).toThrow(expect.objectContaining({ name: "DomainXmlError" }) as Error);
  });

  test("random XML gives a domain or its own error", () => {
    fc.assert(fc.property(fc.array(fc.constantFrom("<domain type='kvm'>", "</domain>", "<devices>", "</devices>", "<hostdev type='pci'>", "<source>", "<address bus='0x1' slot='0xff'/>", "'", "&", "]]>", "<!--", "-->", "x"), { maxLength: 12 }), (parts) => {
      try {
        parseDomainXml(parts.join(""), "x");
      } catch (error) {
        expect(error).toHaveProperty("name", "DomainXmlError");
      }
    }));
  });
});

describe("parseQemuCommand", () => {
  test("reads what the rules ask for", () => {
    expect(looksLikeQemuCommand(QEMU)).toBe(true);
    expect(parseQemuCommand(QEMU, "x")).toMatchObject({ starter: "qemu", memoryBytes: 8n << 30n, machine: "q35", splitIrqchip: true, kvmHidden: true, hypervVendorId: true, viommu: { model: "intel", intremap: true, cachingMode: true, first: true }, devices: [{ host: "0000:01:00.0", guest: { bus: 1, slot: 0, function: 0 }, romFile: "/x.rom" }] });
  });

  test("GST-004 fires when the virtual IOMMU comes after a device, and not when it comes first", () => {
    const of = (command: string): string | undefined => {
      const { snapshots, guests } = gatherHost("x", [text(LSPCI), text(command)]);
      return snapshots[0] && answerOf(diagnose(snapshots[0], { guest: guests[0] }), "GST-004").status;
    };
    expect(of(QEMU)).toBe("pass");
    expect(of("qemu-system-x86_64 -device vfio-pci,host=01:00.0 -device intel-iommu,caching-mode=on")).toBe("fail");
  });
});
