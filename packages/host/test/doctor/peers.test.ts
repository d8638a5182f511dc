/** Mistakes that other tools make about real hosts: this one must not. */
import { describe, expect, test } from "vitest";
import { diagnose, parseDomainXml } from "../../src/doctor/index.ts";
import { lspciSnapshot, parseLspci, readSysfs } from "../../src/index.ts";
import { address, endpoint } from "../made-hosts.ts";
import { dmar, ivhdRange, ivrs } from "../acpi-bytes.ts";
import { answerOf, boot, diagnoseWith, functions, GPU, GUEST, hostdev, SOUND, treeWith } from "./sound-host.ts";

describe("what other tools get wrong", () => {
  test("groups with numbers far apart are all there", () => {
    const groups = [[3, ["0000:00:00.0"]], [900, [GPU, SOUND]]] as const;
    expect(answerOf(diagnoseWith({ groups }), "GRP-001").evidence[0]?.text).toBe("group 900");
  });

  test("a function behind a VMD is found, and told so", () => {
    const [host] = parseLspci("10000:e0:06.0 PCI bridge [0604]: Intel Corporation Device [8086:9a09]\n10000:e1:00.0 Non-Volatile memory controller [0108]: Samsung Device [144d:a808]\n");
    expect(host).toBeDefined();
    if (!host) return;
    const diagnosis = diagnose(lspciSnapshot(host, "text"), { devices: [address("10000:e1:00.0")] });
    expect(answerOf(diagnosis, "GRP-010")).toMatchObject({ status: "fail", severity: "warning", device: "10000:e1:00.0" });
    expect(answerOf(diagnoseWith(), "GRP-010").status).toBe("pass");
  });

  test("amd_iommu=on is explained, not asked for", () => {
    const { advice } = answerOf(diagnoseWith({ host: { commandLine: "amd_iommu=on" } }), "HOST-004");
    expect(advice).toContain("no option");
    const all = diagnoseWith({ groups: [], host: { commandLine: "quiet", tables: { IVRS: ivrs(ivhdRange(8, 0xffff)) } } });
    for (const { advice: text } of all.host) expect(text).not.toMatch(/add amd_iommu=on/i);
  });

  test("an AMD host without any IOMMU option on its command line is fine", () => {
    const diagnosis = diagnoseWith({ host: { commandLine: "quiet", tables: { IVRS: ivrs(ivhdRange(0, 0xffff)) }, dmesg: ["Linux version 6.12.0", "AMD-Vi: Interrupt remapping enabled"] }, files: { "proc/cpuinfo": "vendor_id\t: AuthenticAMD\nmodel name\t: AMD Ryzen 7 5800X\nflags\t\t: svm\n" } });
    expect(["HOST-001", "HOST-002", "HOST-003"].map((id) => answerOf(diagnosis, id).status)).toEqual(["pass", "pass", "pass"]);
  });

  test("an Intel host whose kernel switches it on by default needs no option", () => {
    expect(answerOf(diagnoseWith({ host: { commandLine: "quiet" } }), "HOST-002").status).toBe("pass");
  });

  test("\"DMAR: IOMMU enabled\" proves nothing", () => {
    const off = diagnose(readSysfs(treeWith({ groups: [], files: { "sys/class/iommu": undefined }, host: { dmesg: ["Linux version 6.12.0", "DMAR: IOMMU enabled"] } })));
    expect(answerOf(off, "HOST-005")).toMatchObject({ status: "fail", severity: "error" });
    expect(off.verdict).toBe("blocked");
  });

  test("a sound card of another slot in the group is no part of the card", () => {
    const other = endpoint("0000:00:1f.3", { vendor: 0x8086, device: 0xa348, classCode: 0x040300, driver: "snd_hda_intel" });
    const diagnosis = diagnoseWith({ functions: [...functions(), other], groups: [[1, [GPU, SOUND, "0000:00:1f.3"]]] });
    expect(answerOf(diagnosis, "GRP-002")).toMatchObject({ status: "fail", severity: "block" });
    expect(answerOf(diagnosis, "AUD-001").status).toBe("pass");
  });

  test("a bridge in the group is never asked for and never a blocker", () => {
    const diagnosis = diagnoseWith({ groups: [[1, ["0000:00:01.0", GPU, SOUND]]] });
    expect(answerOf(diagnosis, "GRP-002").status).toBe("pass");
    expect(answerOf(diagnosis, "GRP-003").evidence[0]?.text).toContain("0000:00:01.0");
  });

  test("a host bridge is refused, with all that is in the selection besides", () => {
    expect(answerOf(diagnoseWith({ assign: ["0000:00:00.0", GPU, SOUND] }), "GRP-004")).toMatchObject({ status: "fail", severity: "block", device: "0000:00:00.0" });
  });

  test("inside a virtual machine nobody is sent to firmware setup", () => {
    const inside = diagnose(readSysfs(treeWith({ groups: [], files: { "sys/class/iommu": undefined, "proc/cpuinfo": "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: vmx hypervisor\n" }, host: { tables: { FACP: new Uint8Array(40) }, dmesg: ["Linux version 6.12.0"] } })));
    expect(answerOf(inside, "HOST-001").advice).toContain("virtual IOMMU");
    for (const id of ["HOST-001", "HOST-015"]) expect(answerOf(inside, id).advice).not.toMatch(/Switch it on in firmware/);
  });

  test("a processor that cannot is told from firmware that is not switched on", () => {
    const of = (name: string): string => answerOf(diagnose(readSysfs(treeWith({ groups: [], files: { "sys/class/iommu": undefined, "proc/cpuinfo": `vendor_id\t: GenuineIntel\nmodel name\t: ${name}\nflags\t\t: vmx\n` }, host: { tables: { FACP: new Uint8Array(40) }, dmesg: ["Linux version 6.12.0"] } }))), "HOST-001").advice;
    expect(of("Intel(R) Core(TM) i7-2600K CPU @ 3.40GHz")).toContain("cannot");
    expect(of("Intel(R) Core(TM) i7-3770 CPU @ 3.40GHz")).toMatch(/Switch it on in firmware setup.*The processor can/s);
    expect(of("Intel(R) Something New")).toMatch(/Switch it on in firmware setup/);
    expect(of("Intel(R) Something New")).not.toMatch(/cannot|can \(/);
  });

  test("the chipset's word counts where it is known, and Sandy Bridge's peculiarity is told", () => {
    const host = diagnose(readSysfs(treeWith({ functions: [...functions(), endpoint("0000:00:1f.0", { type: "conventional", vendor: 0x8086, device: 0x1c44, classCode: 0x060100 })], groups: [], files: { "sys/class/iommu": undefined, "proc/cpuinfo": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 42\nmodel name\t: Intel(R) Core(TM) i7-2600 CPU @ 3.40GHz\nflags\t\t: vmx\n" }, host: { tables: { FACP: new Uint8Array(40) }, dmesg: ["Linux version 6.12.0"] } })));
    expect(answerOf(host, "HOST-001").advice).toContain("With the chipset Z68 it is the board maker's choice");
    expect(answerOf(host, "HOST-017")).toMatchObject({ status: "fail", severity: "info" });
  });

  test.each([
    ["0000:00:00.0", 0x2e20, "This board's chipset (G45, G43, P45 or P43) has no VT-d"],
    ["0000:00:00.0", 0x29c0, "This board's chipset (G33, G31, P35 or P31) has no VT-d"],
    ["0000:00:1f.0", 0x3a14, "Switch it on in firmware setup: VT-d (Intel) or IOMMU = Enabled, not Auto (AMD). The chipset (Q45) has it officially."],
    ["0000:00:00.0", 0x2e10, "Switch it on in firmware setup: VT-d (Intel) or IOMMU = Enabled, not Auto (AMD). Where there is no such setting"],
  ])("%s with device id %i: %s", (name, device, advice) => {
    const others = functions().filter((each) => each.address !== name);
    const host = diagnose(readSysfs(treeWith({ functions: [...others, endpoint(name, { type: "conventional", vendor: 0x8086, device, classCode: 0x060000 })], groups: [], files: { "sys/class/iommu": undefined, "proc/cpuinfo": "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM)2 Quad CPU Q9550 @ 2.83GHz\nflags\t\t: vmx\n" }, host: { tables: { FACP: new Uint8Array(40) }, dmesg: ["Linux version 6.12.0"] } })));
    expect(answerOf(host, "HOST-001").advice).toContain(advice);
    expect(answerOf(host, "HOST-001").advice.includes("Switch it on")).toBe(!advice.includes("no VT-d"));
  });

  test("a card with five functions goes as a whole", () => {
    const cards = [0, 1, 2, 3].map((fn) => endpoint(`0000:00:05.${fn}`, { vendor: 0x10de, device: 0x1e00 + fn, classCode: [0x030000, 0x040300, 0x0c0330, 0x0c8000][fn] ?? 0, multifunction: true }));
    const snapshot = readSysfs(treeWith({ functions: [...functions(), ...cards] }));
    const one = diagnose(snapshot, { devices: [address("00:05.0")] });
    expect(answerOf(one, "AUD-001").evidence).toHaveLength(3);
  });

  test("a function that is given to two VMs by one id is bound by address", () => {
    expect(answerOf(diagnoseWith({ functions: [...functions(), endpoint("0000:00:1b.0", { vendor: 0x10de, device: 0x1402, classCode: 0x030000 })], host: { commandLine: "vfio-pci.ids=10de:1402" } }), "DRV-004").advice).toContain("driverctl set-override");
  });

  test("an interrupt line with IR- is no proof that DMA is translated, and the other way round", () => {
    const diagnosis = diagnose(readSysfs(treeWith({ groups: [], files: { "sys/class/iommu": undefined }, host: { dmesg: ["Linux version 6.12.0", ...boot.slice(3)], commandLine: "quiet" } })));
    expect(answerOf(diagnosis, "IRQ-001").status).toBe("pass");
    expect(answerOf(diagnosis, "HOST-002").status).toBe("fail");
    expect(diagnosis.verdict).toBe("blocked");
  });

  test("a table without units is damaged, not a crash", () => {
    expect(() => diagnoseWith({ host: { tables: { DMAR: dmar().subarray(0, 40) } } })).not.toThrow();
  });

  test("a second function at a slot of its own is seen as QEMU does not tell it", () => {
    const diagnosis = diagnose(readSysfs(treeWith({})), { devices: [address(GPU)], guest: parseDomainXml(GUEST({ hostdev: hostdev(GPU, 1, 0, 1) }), "x") });
    expect(answerOf(diagnosis, "GST-007").status).toBe("fail");
  });
});
