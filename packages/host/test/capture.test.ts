import { formatAddress } from "@iommu-lab/pci-bus";
import { findExtendedCapability } from "@iommu-lab/pci-bus/capabilities";
import { describe, expect, test } from "vitest";
import { buildHost } from "../src/bundled/build-host.ts";
import { captureHost, packTree, readSysfs, readTar, redactText, reportGroups, type MemoryTree } from "../src/index.ts";
import { dmar, drhd } from "./acpi-bytes.ts";
import { ACS_ON, bridge, endpoint, hostOf, outcome, switchHost, withGroups } from "./made-hosts.ts";

const packed = async (tree: MemoryTree): Promise<MemoryTree> => (await readTar("host.tar", await packTree(captureHost(tree).tree))).tree;

describe("a capture", () => {
  const groups = [[0, ["0000:00:01.0"]], [4, ["0000:02:00.0", "0000:03:00.0"]], [9, ["0000:05:00.0"]]] as const;
  const host = (): MemoryTree => withGroups({ ...switchHost(), tables: { DMAR: dmar(drhd(true)) } }, groups).addLink("sys/class/iommu/dmar0", "../../devices/virtual/iommu/dmar0");

  test("reads back to the same host: functions, bytes, places, groups, tables", async () => {
    const [before, after] = [readSysfs(host()), readSysfs(await packed(host()))];
    expect({ ...after, origin: "", files: undefined }).toEqual({ ...before, origin: "", files: undefined });
    for (const mode of ["recorded", "computed", "compare"] as const) expect({ ...reportGroups(after, mode), origin: "" }).toEqual({ ...reportGroups(before, mode), origin: "" });
  });

  test("keeps members that are no PCI functions, drivers and virtual functions' links", async () => {
    const tree = host().addLink("sys/kernel/iommu_groups/4/devices/AMDI0020:00", "../x").addLink("sys/devices/pci0000:00/0000:00:01.0/driver", "../../../bus/pci/drivers/pcieport").addLink("sys/devices/pci0000:00/0000:00:01.0/physfn", "../0000:00:02.0");
    const after = readSysfs(await packed(tree));
    expect(after.groups?.get(4)?.others).toEqual(["AMDI0020:00"]);
    expect(after.functions.find(({ address }) => formatAddress(address) === "0000:00:01.0")).toMatchObject({ driver: "pcieport", physicalFunction: { domain: 0, requester: 0x10 } });
  });

  test("keeps what the doctor asks for, and of mounts, routes and the kernel's configuration no more than that", () => {
    const tree = host()
      .addFile("proc/mounts", "/dev/sda1 / ext4 rw,secret=1 0 0\n//nas/anna /home/anna cifs user=anna 0 0\n/dev/sdb1 /media/anna ext4 rw 0 0\n")
      .addFile("proc/net/route", "Iface\tDestination\tGateway\neth0\t00000000\t0100A8C0\neth0\t0000A8C0\t00000000\n")
      .addFile("proc/version", "Linux version 6.12.0 (made)\n")
      .addFile("boot/config-6.12.0", "CONFIG_VFIO_PCI=m\nCONFIG_BUILD_SALT=\"anna\"\n")
      .addFile("etc/modprobe.d/vfio.conf", "options vfio-pci ids=10de:1402\n")
      .addFile("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "c0000020660462\n")
      .addLink("sys/class/net/eth0", "../../devices/pci0000:00/x/net/eth0")
      .addLink("sys/class/net/enx001b21aabbce", "../../devices/pci0000:00/y/net/enx001b21aabbce");
    const { tree: captured } = captureHost(tree);
    const text = (path: string): string => new TextDecoder().decode(captured.read(path));
    expect(text("proc/mounts")).toBe("/dev/sda1 / ext4 rw 0 0\n");
    expect(text("proc/net/route")).toBe("eth0\t00000000\n");
    expect(text("boot/config-6.12.0")).toBe("CONFIG_VFIO_PCI=m\n");
    expect(text("etc/modprobe.d/vfio.conf")).toContain("10de:1402");
    expect(text("sys/devices/virtual/iommu/dmar0/intel-iommu/cap")).toBe("c0000020660462\n");
    expect(captured.list("sys/class/net")).toEqual(["eth0"]);
  });

  test("names what it could not read, and tells its progress", () => {
    const tree = host();
    for (const path of tree.paths()) if (path.endsWith("/config")) tree.addFile(path, (tree.read(path) ?? new Uint8Array()).slice(0, 64));
    tree.remove("dmesg.txt");
    const steps: (readonly [number, number])[] = [];
    const capture = captureHost(tree, (done, total) => steps.push([done, total]));
    expect(capture.functions).toBe(10);
    expect([steps.length, steps[0], steps.at(-1)]).toEqual([10, [1, 10], [10, 10]]);
    expect(capture.missing.map(({ what }) => what)).toEqual(["configuration space past the first 64 bytes of 10 functions (read without root)", "the kernel log (dmesg)"]);
  });

  test("leaves out what holds licence keys, ROMs and vital product data", () => {
    const tree = host();
    for (const table of ["MSDM", "SLIC", "SLIC1", "SSDT1", "FACP"]) tree.addFile(`sys/firmware/acpi/tables/${table}`, `${table}${"k".repeat(60)}`);
    tree.addFile("sys/firmware/acpi/tables/data/BERT", "x").addFile("sys/devices/pci0000:00/0000:00:01.0/rom", "rom").addFile("sys/devices/pci0000:00/0000:00:01.0/vpd", "SN12345").addFile("sys/class/dmi/id/product_serial", "SN12345").addFile("sys/class/dmi/id/product_uuid", "u").addFile("etc/shadow", "x");
    const { tree: captured } = captureHost(tree);
    expect(captured.list("sys/firmware/acpi/tables")).toEqual(["DMAR", "FACP", "SSDT1"]);
    expect(captured.paths().filter((path) => /rom$|vpd$|serial|uuid|etc/.test(path))).toEqual([]);
  });
});

describe("what a capture blanks", () => {
  const SERIAL = [0x0011_22ff, 0xfe33_4455] as const;
  const secrets = ["WD-WX12A3456789", "00:1b:21:aa:bb:cc", "00-1B-21-AA-BB-CD", "001b21aabbce", "4C530001 2345 6789", "5000c500a1b2c3d4", "0d1f6f3c-1111-2222-3333-444455556666", "12:34:56:78:9a:bc:de:f0"] as const;
  const log = [
    "[    1.0] usb 1-4: New USB device strings: Mfr=1, Product=2, SerialNumber=3",
    `[    1.0] usb 1-4: SerialNumber: ${secrets[0]}`,
    `[    1.1] usb 1-5: SerialNumber: ${secrets[4]}`,
    `[    2.0] e1000e 0000:00:19.0 eth0: (PCI Express:2.5GT/s:Width x1) ${secrets[1]}`,
    `[    2.1] r8152 2-1:1.0 enx${secrets[3]}: renamed from eth0`,
    `[    2.2] scsi 0:0:0:0: wwn: 0x${secrets[5]}`,
    `[    2.3] infiniband mlx5_0: node guid ${secrets[7]}`,
    "[    0.5] pci 0000:00:1c.0: PCI bridge to [bus 02-05]",
    "[    0.5] pci 0000:02:00.0: [8086:10c9] type 00 class 0x020000",
    "[    0.6] pcieport 10000:e0:06.0: Adding to iommu group 12",
    "[    0.7] rtc_cmos 00:04: setting system clock to 2026-01-02T03:04:05 UTC",
  ];
  const host = (): MemoryTree => buildHost(hostOf([bridge("0000:00:01.0", 1, { acs: ACS_ON, below: [endpoint("0000:01:00.0", { serial: SERIAL })] })], { dmesg: log, commandLine: `BOOT_IMAGE=/vmlinuz root=UUID=${secrets[6]} ifname=eth0:${secrets[1]} BOOTIF=01-${secrets[2]} pci=disable_acs_redir=0000:00:1c.0/00.0 vfio-pci.ids=10de:1402,10de:0fba` }));

  const bytesOf = async (tree: MemoryTree): Promise<{ raw: Uint8Array; text: string }> => {
    const raw = await packTree(captureHost(tree).tree);
    return { raw, text: new TextDecoder("latin1").decode(raw).toLowerCase() };
  };

  test.each(secrets)("%s is in no byte of the archive", async (secret) => {
    expect(new TextDecoder("latin1").decode(await packTree(host())).toLowerCase()).toContain(secret.toLowerCase());
    expect((await bytesOf(host())).text).not.toContain(secret.toLowerCase());
  });

  test("the Device Serial Number capability reads zero, its neighbours stay (PCIe §7.9.3)", async () => {
    const config = (tree: MemoryTree): Uint8Array => tree.read("sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/config") ?? new Uint8Array();
    const [before, after] = [config(host()), config(await packed(host()))];
    const at = findExtendedCapability(before, 3);
    expect(at).toBeGreaterThan(0);
    expect(Array.from(before.subarray(at + 4, at + 12))).toEqual([0x55, 0x44, 0x33, 0xfe, 0xff, 0x22, 0x11, 0x00]);
    expect(after).toEqual(before.slice().fill(0, at + 4, at + 12));
    const { raw } = await bytesOf(host());
    const serial = before.subarray(at + 4, at + 12);
    expect(raw.some((_, i) => serial.every((byte, j) => raw[i + j] === byte))).toBe(false);
  });

  test("addresses, ids and times stay as they are", async () => {
    const tree = await packed(host());
    const text = (path: string): string => new TextDecoder().decode(tree.read(path));
    for (const line of log.slice(-4)) expect(text("dmesg.txt")).toContain(line);
    expect(text("proc/cmdline")).toContain("pci=disable_acs_redir=0000:00:1c.0/00.0 vfio-pci.ids=10de:1402,10de:0fba");
  });

  test("is counted", () => {
    expect(captureHost(host()).redacted).toBeGreaterThanOrEqual(secrets.length + 1);
    expect(captureHost(buildHost(hostOf([endpoint("0000:00:02.0")]))).redacted).toBe(0);
  });

  test("does not change the groups", async () => {
    expect(outcome(reportGroups(readSysfs(await packed(host())), "computed"))).toEqual(outcome(reportGroups(readSysfs(host()), "computed")));
  });
});

describe("redactText", () => {
  test.each([
    ["serial number: ABC123", "serial number: (redacted)"],
    ['serial="ABC 123", x', 'serial="(redacted)", x'],
    ["Serial Number: ABC 123\nnext", "Serial Number: (redacted)\nnext"],
    ["UUID=1234-5", "UUID=(redacted)"],
    ["aa:bb:cc:dd:ee:ff.", "00:00:00:00:00:00."],
    ["ether aa-bb-cc-dd-ee-ff", "ether 00:00:00:00:00:00"],
  ])("%j becomes %j", (text, expected) => {
    expect(redactText(text).text).toBe(expected);
  });

  test.each(["0000:00:1f.3", "10000:e0:06.0", "vfio-pci.ids=10de:1402,10de:0fba", "12:34:56", "[10de:1402]", "serial8250: ttyS0 at I/O 0x3f8", "serial 0000:00:16.3: enabled", "Serial: 8250/16550 driver, 4 ports", "01:00.0 02:00.0 03:00.0 04:00.0 05:00.0 06:00.0", "cpus 00-01-02"])("%j stays", (text) => {
    expect(redactText(text)).toEqual({ text, count: 0 });
  });
});
