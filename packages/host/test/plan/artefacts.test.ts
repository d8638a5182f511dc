/** What each file of a plan says, for every distribution and target. */
import { describe, expect, test } from "vitest";
import { readBundled } from "../../src/bundled/index.ts";
import { MemoryTree, type HostSnapshot } from "../../src/index.ts";
import { GUEST_IOMMUS, GUESTS, type Distro, type PlanRequest } from "../../src/plan/index.ts";
import { everyWay, fileOf, GPU, gpuHost, planned, request, withFunction } from "./make.ts";

const plan = (more: Partial<PlanRequest> = {}, snapshot: HostSnapshot = gpuHost(), devices: readonly string[] = GPU) => planned(snapshot, request(devices, more));
const texts = (more: Partial<PlanRequest> = {}, snapshot?: HostSnapshot): string => plan(more, snapshot).files.map(({ text }) => text).join("\n");
const instructions = (more: Partial<PlanRequest>, snapshot?: HostSnapshot): string => plan(more, snapshot).files.filter(({ path }) => path !== "README.md").map(({ text }) => text.replace(/^#.*$/gm, "")).join("\n");
const files = (entries: Readonly<Record<string, string>>): MemoryTree => Object.entries(entries).reduce((tree, [path, text]) => tree.addFile(path, text), new MemoryTree("made"));

describe("what no plan ever writes", () => {
  test.each(["amd_iommu=on", "iommu=pt", "vfio_virqfd", "pcie_acs_override", "allow_unsafe_interrupts", "nomodeset", "efifb:off", "new_id", "kvm=off", "hidden state"])("%s", (word) => {
    for (const way of everyWay) expect(instructions(way)).not.toContain(word);
  });

  test("a device id, which identical cards share; KubeVirt alone knows no addresses", () => {
    for (const way of everyWay) if (way.target !== "kubevirt") expect(instructions(way)).not.toMatch(/10de|1402|\bids=/i);
  });
});

describe("kernel options", () => {
  const options = (snapshot: HostSnapshot, distro: Distro = "debian"): string => plan({ distro }, snapshot).files.find(({ path }) => path === "kernel-options.txt")?.text.trim() ?? "";

  test("Intel's IOMMU is switched on where it is off", () => {
    expect(options(gpuHost())).toBe("intel_iommu=on");
  });

  test("nothing where it is on already", () => {
    expect(options(gpuHost({ iommus: ["dmar0"], dmesg: "DMAR-IR: Enabled IRQ remapping in xapic mode" }))).toBe("");
    expect(plan({}, gpuHost({ iommus: ["dmar0"], dmesg: "DMAR-IR: Enabled IRQ remapping in xapic mode" })).files.some(({ path }) => path.includes("grub"))).toBe(false);
  });

  test("none switches AMD's on; what a guide's amd_iommu=on does is told", () => {
    const amd = planned(readBundled("q35-amd-iommu"), request(["02:00.0"]));
    expect(amd.files.some(({ path }) => path === "kernel-options.txt")).toBe(false);
    expect(fileOf(amd, "README.md")).toContain("on by default: no option");
    const folk = planned({ ...readBundled("q35-amd-iommu"), commandLine: "quiet amd_iommu=on" }, request(["02:00.0"]));
    expect(fileOf(folk, "README.md")).toContain("AMD-Vi: Unknown option - 'on'");
  });

  test("dracut is told to load vfio-pci first, unless the user has said so", () => {
    expect(options(gpuHost(), "fedora")).toBe("intel_iommu=on rd.driver.pre=vfio-pci");
    expect(options(gpuHost({ commandLine: "rd.driver.pre=vfio-pci" }), "fedora")).toBe("intel_iommu=on");
  });

  test("a kernel with vfio-pci built in is given its options there; a module gets them from modprobe", () => {
    expect(options(gpuHost(), "ubuntu")).toBe("intel_iommu=on vfio-pci.disable_vga=1");
    expect(fileOf(plan({ distro: "ubuntu" }), "host/etc/modprobe.d/iommu-lab-vfio.conf")).not.toMatch(/^(?:options|install|softdep)/m);
    expect(fileOf(plan(), "host/etc/modprobe.d/iommu-lab-vfio.conf")).toMatch(/^options vfio-pci disable_vga=1$/m);
    expect(options(gpuHost({ files: files({ "boot/config-6.1.0": "CONFIG_VFIO_PCI=y\n" }) }))).toContain("vfio-pci.disable_vga=1");
    expect(options(gpuHost({ files: files({ "boot/config-6.1.0": "CONFIG_VFIO_PCI=m\n" }) }), "ubuntu")).not.toContain("vfio-pci.");
  });

  test("vfio-pci keeps out of VGA arbitration only where the host keeps another VGA device", () => {
    expect(texts({}, withFunction(gpuHost(), "00:02.0", { classCode: 0x038000 }))).not.toContain("disable_vga");
  });

  test("a console's frame buffer in the card's window needs an option; one elsewhere does not", () => {
    const at = (iomem: string): HostSnapshot => withFunction(gpuHost({ files: files({ "proc/iomem": iomem }) }), "01:00.0", { resources: [{ start: 0xe000_0000n, end: 0xefff_ffffn, flags: 0x14_220cn }] });
    expect(options(at("  e0000000-e07fffff : BOOTFB\n"))).toContain("initcall_blacklist=sysfb_init");
    expect(options(at("  f0000000-f07fffff : BOOTFB\n"))).not.toContain("initcall_blacklist");
    expect(options(at("  00000000-00000000 : BOOTFB\n"))).not.toContain("initcall_blacklist");
  });

  test.each<[Distro, RegExp]>([
    ["debian", /GRUB_CMDLINE_LINUX_DEFAULT="\$GRUB_CMDLINE_LINUX_DEFAULT intel_iommu=on"|run update-grub/],
    ["ubuntu", /run update-initramfs -u -k all/],
    ["fedora", /run grubby --update-kernel=ALL --args="intel_iommu=on rd\.driver\.pre=vfio-pci"/],
    ["arch", /append_words \/etc\/kernel\/cmdline "" "intel_iommu=on"/],
    ["opensuse", /grub2-mkconfig -o \/boot\/grub2\/grub\.cfg/],
    ["popos", /run kernelstub -a "intel_iommu=on/],
    ["silverblue", /rpm-ostree kargs --append-if-missing=intel_iommu=on --append-if-missing=rd\.driver\.pre=vfio-pci/],
    ["nixos", /nixos-rebuild boot/],
    ["proxmox", /proxmox-boot-tool refresh/],
  ])("%s has its own way of setting them", (distro, way) => {
    expect(fileOf(plan({ distro }), "apply.sh")).toMatch(way);
  });

  test.each<[Distro, RegExp]>([
    ["fedora", /run grubby --update-kernel=ALL --remove-args="intel_iommu=on/],
    ["popos", /run kernelstub -d "intel_iommu=on/],
    ["silverblue", /--delete-if-present=intel_iommu=on/],
  ])("%s has its own way of taking them back", (distro, way) => {
    expect(fileOf(plan({ distro }), "undo.sh")).toMatch(way);
  });
});

describe("binding", () => {
  test("goes by address, for every function, in the early system too", () => {
    for (const { distro, target, guest } of everyWay) {
      if (distro === "nixos") continue;
      const each = plan({ distro, target, guest: guest ?? "linux" });
      for (const path of ["host/etc/iommu-lab/vfio-bind.sh", "host/etc/udev/rules.d/10-iommu-lab-vfio.rules"]) expect(fileOf(each, path)).toMatch(/0000:01:00\.0[^]*0000:01:00\.1/);
      expect(each.files.map(({ text }) => text).filter((text) => text.includes("/etc/iommu-lab/vfio-bind.sh")).length).toBeGreaterThan(1);
    }
  });

  test("no driver of the host is loaded before vfio-pci", () => {
    const text = fileOf(plan(), "host/etc/modprobe.d/iommu-lab-vfio.conf");
    expect([...text.matchAll(/^softdep (\S+) pre: vfio-pci$/gm)].map(([, name]) => name)).toEqual(["nouveau", "nvidia", "snd_hda_intel"]);
    expect(text).toMatch(/^install vfio-pci \/bin\/sh \/etc\/iommu-lab\/vfio-bind\.sh load$/m);
  });

  test("dracut's lists keep their spaces, mkinitcpio's the user's entries", () => {
    expect(fileOf(plan({ distro: "fedora" }), "host/etc/dracut.conf.d/10-iommu-lab-vfio.conf")).toContain("force_drivers+=\" vfio vfio_iommu_type1 vfio_pci \"");
    expect(fileOf(plan({ distro: "arch" }), "host/etc/mkinitcpio.conf.d/iommu-lab-vfio.conf")).toContain("MODULES=(vfio_pci vfio vfio_iommu_type1 \"${MODULES[@]}\")");
  });

  test("a driver's name from a hostile snapshot is never written as code", () => {
    const hostile = "x; rm -rf / $(reboot) `reboot`\n</domain> '\"${x}";
    const snapshot = withFunction(gpuHost({ origin: hostile, kernelRelease: hostile }), "01:00.0", { driver: hostile });
    for (const way of everyWay)
      for (const { path, text } of plan(way, snapshot).files) {
        if (path !== "README.md") expect(text).not.toContain("reboot");
        expect(text).not.toContain("`reboot`");
        expect(text).not.toContain("\n</domain> '");
      }
  });
});

describe("the guest", () => {
  const xml = (more: Partial<PlanRequest> = {}, snapshot?: HostSnapshot): string => fileOf(plan(more, snapshot), "guest.xml");

  test("has function 0 and its companions at one slot behind a root port", () => {
    expect([...xml().matchAll(/<address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x(\d)'( multifunction='on')?\/>/g)].map(([, fn, multi]) => [fn, multi !== undefined])).toEqual([["0", true], ["1", false]]);
  });

  test("has functions of one group behind one bridge when it has an IOMMU itself", () => {
    const text = xml({ guestIommu: "intel" });
    expect(text).toContain("model='pcie-to-pci-bridge'");
    expect(text).toContain("<ioapic driver='qemu'/>");
    expect(text).toContain("<driver intremap='on' caching_mode='on' eim='on' iotlb='on' aw_bits='48'/>");
    expect(xml()).not.toMatch(/ioapic|iommu model|pci-bridge/);
  });

  test("has no emulated display when it gets one, and one when it does not", () => {
    expect(xml()).toContain("<model type='none'/>");
    expect(fileOf(plan({}, gpuHost(), ["03:00.0"]), "guest.xml")).toContain("<model type='vga'/>");
  });

  test("integrated graphics is at 00:02.0, and no port stands there", () => {
    const text = fileOf(plan({}, gpuHost(), ["00:02.0", "01:00.0"]), "guest.xml");
    expect(text).toContain("<address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>");
    expect(text.match(/bus='0x00' slot='0x02'/g)).toHaveLength(2);
  });

  test("KVM is hidden from Windows with the cards that were reported to need it, from nobody else", () => {
    const rdna = withFunction(gpuHost(), "01:00.0", { vendor: 0x1002, device: 0x744c });
    expect(xml({ guest: "windows" }, rdna)).toContain("<hidden state='on'/>");
    expect(xml({ guest: "linux" }, rdna)).not.toContain("hidden");
    expect(xml({ guest: "windows" }, withFunction(gpuHost(), "01:00.0", { vendor: 0x1002, device: 0x73bf }))).not.toContain("hidden");
  });

  test.each<[readonly [number, number], string | undefined]>([[[8, 6], undefined], [[8, 7], "<maxphysaddr mode='emulate' bits='39'/>"], [[9, 2], "<maxphysaddr mode='emulate' bits='39'/>"], [[9, 3], "<maxphysaddr mode='passthrough' limit='39'/>"]])("an IOMMU narrower than the processor limits it, as libvirt %j can say", (libvirt, expected) => {
    const tree = files({ "proc/cpuinfo": "flags : vmx\naddress sizes\t: 46 bits physical, 48 bits virtual\n", "sys/class/iommu/dmar0/intel-iommu/cap": "1c0000c40660462\n" }).addFile("sys/class/iommu/dmar0/intel-iommu/cap", `${(38n << 16n).toString(16)}\n`);
    const text = xml({ libvirt }, gpuHost({ files: tree, iommus: ["dmar0"], dmesg: "DMAR-IR: Enabled IRQ remapping in xapic mode" }));
    if (expected === undefined) expect(text).not.toContain("maxphysaddr");
    else expect(text).toContain(expected);
  });

  test.each<[readonly [number, number], boolean]>([[[7, 1], false], [[7, 2], true]])("libvirt %j and firmware features", (libvirt, there) => {
    expect(xml({ libvirt }).includes("enrolled-keys")).toBe(there);
  });

  test("Proxmox VE's lines keep to its grammar", () => {
    const text = fileOf(plan({ target: "proxmox", distro: "proxmox", guestIommu: "virtio" }), "proxmox-guest.conf");
    expect(text).toMatch(/^hostpci0: 0000:01:00\.0;0000:01:00\.1,pcie=1$/m);
    expect(text).toMatch(/^machine: q35,viommu=virtio$/m);
    expect(text).toMatch(/^vga: none$/m);
  });

  // By the formats of qm.conf in Proxmox VE's qemu-server (QemuServer.pm, QemuServer/PCI.pm, CPUConfig.pm, Machine.pm).
  const PCI = "(?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[0-9a-f]{2}(?:\\.[0-9a-f])?";
  const PROXMOX: Readonly<Record<string, RegExp>> = {
    machine: /^q35(?:,viommu=(?:intel|virtio))?$/,
    bios: /^ovmf$/,
    ostype: /^(?:win11|l26)$/,
    cpu: /^host(?:,hidden=1,hv-vendor-id=[a-zA-Z0-9]{1,12})?(?:,phys-bits=(?:[89]|[1-5]\d|6[0-4]))?$/,
    cores: /^[1-9]\d*$/,
    memory: /^[1-9]\d+$/,
    balloon: /^0$/,
    numa: /^1$/,
    hugepages: /^(?:any|2|1024)$/,
    vga: /^none$/,
    args: /^-fw_cfg name=opt\/ovmf\/X-PciMmio64Mb,string=\d+$/,
    ...Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`hostpci${i}`, new RegExp(`^${PCI}(?:;${PCI})*,pcie=1$`)])),
  };
  test.each(GUESTS.flatMap((guest) => GUEST_IOMMUS.flatMap((guestIommu) => [false, true].map((hugepages) => ({ guest, guestIommu, hugepages })))))("every line of Proxmox VE's is one of qm.conf's, with %j", (more) => {
    const lines = fileOf(plan({ target: "proxmox", distro: "proxmox", ...more }), "proxmox-guest.conf").trimEnd().split("\n").filter((line) => !line.startsWith("#"));
    const values = new Map(lines.map((line) => line.split(/: (.*)/, 2) as [string, string]));
    expect(values.size).toBe(lines.length);
    for (const [key, value] of values) expect(value, key).toMatch(PROXMOX[key] ?? /no such key/);
    expect(values.has("hugepages")).toBe(more.hugepages);
    expect(values.has("numa")).toBe(more.hugepages);
  });

  test("that KubeVirt has no virtual IOMMU is told when one is asked for", () => {
    const cautions = (guestIommu: PlanRequest["guestIommu"]): string => fileOf(plan({ target: "kubevirt", ...(guestIommu ? { guestIommu } : {}) }), "README.md");
    expect(cautions("intel")).toContain("- **GST-004**: KubeVirt has no virtual IOMMU");
    for (const none of [undefined, "none"] as const) expect(cautions(none)).not.toContain("GST-004");
  });

  test("KubeVirt's feature gate for host devices is switched on", () => {
    expect(fileOf(plan({ target: "kubevirt" }), "kubevirt-permitted-devices.yaml")).toMatch(/^ {4}developerConfiguration:\n {6}featureGates:\n {8}- HostDevices$/m);
  });

  test("KubeVirt is told ids in upper case and asks for each function", () => {
    expect(fileOf(plan({ target: "kubevirt" }), "kubevirt-permitted-devices.yaml")).toContain("pciVendorSelector: \"10DE:1402\"");
    expect(fileOf(plan({ target: "kubevirt" }), "kubevirt-vm.yaml").match(/deviceName: /g)).toHaveLength(2);
  });

  test("QEMU's IOMMU comes before what it translates, with a split interrupt controller", () => {
    const text = fileOf(plan({ target: "qemu", guestIommu: "intel" }), "start-guest.sh");
    expect(text.indexOf("intel-iommu")).toBeLessThan(text.indexOf("pcie-root-port"));
    expect(text).toContain("kernel_irqchip=split");
    expect(fileOf(plan({ target: "qemu" }), "start-guest.sh")).not.toContain("kernel_irqchip");
  });

  test("huge pages are set aside and used only when asked for", () => {
    expect(xml({ hugepages: true, memory: 4096 })).toContain("<hugepages/>");
    expect(fileOf(plan({ hugepages: true, memory: 4097 }), "host/etc/sysctl.d/80-iommu-lab-hugepages.conf")).toContain("vm.nr_hugepages = 2049");
    expect(texts()).not.toMatch(/hugepages/);
  });
});
