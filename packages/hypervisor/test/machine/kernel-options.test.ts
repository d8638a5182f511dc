import { describe, expect, test } from "vitest";
import { kernelOptions, type KernelOptions } from "../../src/machine/kernel-options.ts";
import { twoDevices } from "./two-devices.ts";

const optionsOf = (vendor: "intel" | "amd", commandLine: string, more: Parameters<typeof twoDevices>[1] = {}): KernelOptions => kernelOptions(twoDevices(vendor, { kernel: { version: "6.12.107", commandLine }, ...more }));

describe("the kernel's options", () => {
  test.each<readonly ["intel" | "amd", string, Partial<KernelOptions>]>([
    ["intel", "", { translation: false }],
    ["intel", "intel_iommu=on", { translation: true, passthrough: false, strict: false, ats: true, interruptRemapping: true }],
    ["intel", "intel_iommu=on,sm_on", { translation: true }],
    ["intel", "intel_iommu=off intel_iommu=on", { translation: false }],
    ["intel", "intel_iommu=on iommu=off", { translation: false }],
    ["intel", "amd_iommu=off intel_iommu=on", { translation: true }],
    ["amd", "", { translation: true, passthrough: false }],
    ["amd", "amd_iommu=off", { translation: false }],
    ["amd", "intel_iommu=off", { translation: true }],
    ["amd", "iommu=off", { translation: false }],
    ["intel", "intel_iommu=on iommu=pt", { passthrough: true }],
    ["intel", "intel_iommu=on iommu.passthrough=1", { passthrough: true }],
    ["intel", "intel_iommu=on iommu=pt iommu.passthrough=0", { passthrough: false }],
    ["amd", "iommu=pt", { passthrough: true }],
    ["intel", "intel_iommu=on,strict", { strict: true }],
    ["intel", "intel_iommu=on iommu.strict=1", { strict: true }],
    ["intel", "intel_iommu=on,strict iommu.strict=0", { strict: false }],
    ["amd", "amd_iommu=fullflush", { strict: true }],
    ["intel", "intel_iommu=on pci=noats", { ats: false }],
    ["intel", "intel_iommu=on intremap=off", { interruptRemapping: false, translation: true }],
    ["amd", "nointremap", { interruptRemapping: false }],
    ["amd", "xintremap=off nointremapping", { interruptRemapping: true }],
  ])("%s, \"%s\"", (vendor, commandLine, expected) => {
    expect(optionsOf(vendor, commandLine)).toMatchObject(expected);
  });

  test("without IOMMUs, and with the IOMMU off in the setup, nothing is translated", () => {
    expect(optionsOf("intel", "intel_iommu=on", { iommus: [] }).translation).toBe(false);
    expect(optionsOf("amd", "", { firmware: { kind: "bios", iommu: false } }).translation).toBe(false);
  });

  test("an IOMMU with caching mode makes the kernel strict, unless it is told otherwise", () => {
    const iommus = [{ vendor: "intel", cachingMode: true }] as const;
    expect([optionsOf("intel", "intel_iommu=on", { iommus: [...iommus] }).strict, optionsOf("intel", "intel_iommu=on iommu.strict=0", { iommus: [...iommus] }).strict]).toEqual([true, false]);
  });

  test("the version is its first two numbers", () => {
    expect(optionsOf("amd", "").version).toEqual([6, 12]);
  });
});
