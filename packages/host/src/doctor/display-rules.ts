import { formatAddress } from "@iommu-lab/pci-bus";
import { planIgd } from "@iommu-lab/vga-arbiter";
import type { DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";
import { fail, notConcerned, pass, seen, unknown, type DeviceRule, type DoctorEvidence, type HostRule, type Outcome } from "./rule.ts";

const NO_DISPLAY = "It is no display.";

const bootEvidence = (device: DeviceView): DoctorEvidence => seen(`sys/bus/pci/devices/${device.name}/boot_vga`, device.fn.bootVga ? "1" : "0");

const checkBootDisplay = (device: DeviceView, host: HostView): Outcome => {
  if (!device.isDisplay) return notConcerned(NO_DISPLAY);
  const { bootVga } = device.fn;
  if (bootVga === undefined) {
    // The kernel makes this file for VGA devices only.
    if (host.snapshot.kind === "sysfs" && device.class !== 0x0300) return pass(seen(`sys/bus/pci/devices/${device.name}/class`, `class ${device.class.toString(16).padStart(4, "0")} is no VGA device`));
    const said = host.log?.find(device.logPattern("vgaarb: setting as boot VGA device"));
    return said ? fail(said, ADVICE_BOOT) : unknown(`/sys/bus/pci/devices/${device.name}/boot_vga`);
  }
  if (!bootVga) return pass(bootEvidence(device));
  const others = host.snapshot.functions.filter((f) => f !== device.fn && (f.classCode ?? 0) >>> 16 === 0x03);
  return fail([bootEvidence(device), ...others.slice(0, 3).map((f) => seen("another display", formatAddress(f.address)))], others.length > 0 ? ADVICE_BOOT : "It is the machine's only display: the host is left without a picture. Have another way in (ssh, serial line), and see ROM-001 and VGA-002.");
};

const ADVICE_BOOT = "The host boots on this card. Choose another one as primary display in firmware setup; else its ROM must come from a file (ROM-001), and its frame buffer must be let go (VGA-002).";

const FRAMEBUFFER = /\b(?:BOOTFB|simplefb|simple-framebuffer|simpledrm|efifb|vesafb|vesadrm|efidrm)\b/;

const range = (line: string): readonly [bigint, bigint] | undefined => {
  const match = /^\s*([0-9a-f]{1,16})-([0-9a-f]{1,16})\b/i.exec(line);
  return match ? [BigInt(`0x${match[1] ?? "0"}`), BigInt(`0x${match[2] ?? "0"}`)] : undefined;
};

const framebufferAdvice = (host: HostView): string => {
  const detach = "By hand: echo 0 > /sys/class/vtconsole/vtcon*/bind, then unbind efi-framebuffer.0 or simple-framebuffer.0.";
  if (host.kernelAtLeast(6, 0) === true) return `vfio-pci of this kernel takes the frame buffer away when it binds; if one is made afterwards (simpledrm built in), "BAR 0: can't reserve" follows: then initcall_blacklist=sysfb_init, or boot on another card. ${detach}`;
  return `vfio-pci of kernels before 6.0 cannot take it: "BAR 0: can't reserve". video=efifb:off helps where efifb is the one. ${detach}`;
};

const checkFramebuffer = (device: DeviceView, host: HostView): Outcome => {
  if (!device.isDisplay) return notConcerned(NO_DISPLAY);
  const said = host.log?.find(device.logPattern("BAR \\d.*: can't reserve"));
  const map = host.text("proc/iomem");
  const lines = (map ?? "").split("\n");
  const bars = device.fn.resources?.slice(0, 6).filter(({ flags, end }) => flags & 0x200n && end > 0n);
  const inside = lines.flatMap((line, i) => {
    const at = FRAMEBUFFER.test(line) ? range(line) : undefined;
    return at && at[1] > 0n && bars?.some(({ start, end }) => start <= at[0] && at[1] <= end) ? [seen("proc/iomem", line.trim(), i + 1)] : [];
  });
  if (inside.length > 0 || said) return fail([...inside, said], framebufferAdvice(host));
  if (map === undefined || !bars) return unknown("/proc/iomem, read by root");
  return lines.some((line) => (range(line)?.[1] ?? 0n) > 0n) ? pass(seen("proc/iomem", "no firmware frame buffer in its BARs")) : unknown("/proc/iomem, read by root (without root every address is 0)");
};

const checkEfifb = (host: HostView): Outcome => {
  const option = host.option(/^video=.*(?:efifb|vesafb|simplefb):off/);
  if (!option) return host.snapshot.commandLine === undefined ? unknown("/proc/cmdline") : pass(seen("proc/cmdline", "no video=efifb:off", 1));
  const drm = host.kernelConfig(/^CONFIG_(?:SYSFB_SIMPLEFB|DRM_SIMPLEDRM)=y/);
  const bound = host.log?.find(/simple-framebuffer simple-framebuffer\.0: \[drm\]|Initialized simpledrm/);
  if (drm || bound) return fail([option, drm, bound], "It has no effect here: this kernel draws by simpledrm, not by efifb. See VGA-002.");
  return host.hasKernelConfig ? pass(option) : unknown("the kernel's configuration (/boot/config-*, as a file)", option);
};

const checkDecoders = (device: DeviceView, host: HostView): Outcome => {
  if (device.class !== 0x0300) return notConcerned("It is no VGA device.");
  const others = host.snapshot.functions.filter((f) => f !== device.fn && (f.classCode ?? 0) >>> 8 === 0x0300);
  if (others.length === 0) return pass(seen("class 0300", "it is the only VGA device"));
  const off = [host.option(/^vfio[-_]pci\.disable_vga=1$/), ...host.configuration(/^\s*options\s+vfio[-_]pci\s.*disable_vga=1/), host.lineOf("sys/module/vfio_pci/parameters/disable_vga", /^Y/)].filter((each) => each !== undefined);
  if (off.length > 0) return pass(off);
  const said = host.log?.find(/vgaarb: VGA decodes changed/);
  return fail([...others.slice(0, 3).map((f) => seen("another VGA device", formatAddress(f.address))), said], "Two VGA devices want the legacy ranges, and the arbiter hands them to and fro. With a UEFI guest it is not needed: options vfio-pci disable_vga=1.");
};

const u8 = (config: Uint8Array | undefined, at: number): number | undefined => (config && config.length > at ? config[at] : undefined);

const checkIgd = (device: DeviceView, host: HostView): Outcome => {
  if (!device.isIgd) return notConcerned("It is no integrated Intel graphics.");
  const bridge = host.at("0000:00:00.0");
  const ggc = u8(bridge?.config, 0x50);
  const opRegion = [0xfc, 0xfd, 0xfe, 0xff].map((at) => u8(device.fn.config, at));
  const lpc = host.at("0000:00:1f.0");
  const plan = planIgd({
    era: "modern",
    mode: "legacy",
    guestFirmware: "bios",
    atGuest02: true,
    lpcBridgeAt1f: true,
    vgaDecodeDisabled: ggc === undefined ? "unknown" : (ggc & 2) !== 0,
    isVgaClass: device.class === 0x0300,
    hostReleased: host.snapshot.kind === "sysfs" ? device.fn.driver === undefined || device.fn.driver === "vfio-pci" : "unknown",
  });
  const evidence = [
    ggc === undefined ? undefined : seen("sys/bus/pci/devices/0000:00:00.0/config", `0x50 GGC bit 1 (IVD) is ${(ggc >> 1) & 1}`),
    opRegion.every((byte) => byte !== undefined) ? seen(`sys/bus/pci/devices/${device.name}/config`, opRegion.some((byte) => byte !== 0) ? "0xfc ASLS: it has an OpRegion" : "0xfc ASLS is 0: no OpRegion") : undefined,
    lpc ? seen("0000:00:1f.0", `ISA bridge ${(lpc.vendor ?? 0).toString(16)}:${(lpc.device ?? 0).toString(16)}`) : undefined,
    ...plan.reasons.map(({ rule, text }) => seen(rule, text)),
  ];
  const versions = "Legacy mode: guest address 00:02.0, machine type pc (i440fx), no other VGA; QEMU 9.2 refuses newer generations in it, and before QEMU 10 the stolen memory is set by x-igd-gms. Else without output until the guest's driver loads.";
  if (plan.verdict === "unknown") return unknown("lspci -vvv -xxxx by root, for GGC and the OpRegion", evidence);
  if (plan.verdict === "works") return pass(evidence);
  return fail(evidence, `${plan.conditions.join(" ")} ${versions}`.trim());
};

/** Boot display, frame buffer, legacy ranges and integrated graphics. */
export const DISPLAY_RULES: readonly DeviceRule[] = [
  { about: "device", id: "VGA-001", title: "The host does not boot on it", severity: "warning", check: checkBootDisplay },
  { about: "device", id: "VGA-002", title: "Firmware's frame buffer is not in its memory", severity: "error", check: checkFramebuffer },
  { about: "device", id: "VGA-004", title: "Nobody else wants the legacy VGA ranges", severity: "warning", check: checkDecoders },
  { about: "device", id: "IGD-001", title: "Integrated graphics has what its guest driver looks for", severity: "warning", check: checkIgd },
];

export const CONSOLE_RULES: readonly HostRule[] = [{ about: "host", id: "VGA-003", title: "video=…:off does what it is there for", severity: "warning", check: checkEfifb }];
