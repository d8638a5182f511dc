/** An unmodified Debian on the models, with QEMU as the processor. Needs QEMU and, the first time, Debian's packages. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const installed = spawnSync("qemu-system-x86_64", ["--version"]).status === 0;
if (!installed && process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error("qemu-system-x86_64 (qemu-system-x86) is not installed.");
const full = process.env.IOMMU_LAB_FULL !== undefined;

const MAIN = join(import.meta.dirname, "../src/main.ts");
const command = ["--conditions=@iommu-lab/source", MAIN];
const boot = (...options: readonly string[]): { readonly status: number | null; readonly console: string; readonly errors: string } => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...command, "boot", "--timeout", "280", ...options], { encoding: "latin1", maxBuffer: 2 ** 26 });
  return { status, console: stdout, errors: stderr };
};
/** What QEMU leaves behind, were it to leave anything: its processes by their command lines, files in shared memory. */
const leftovers = (): string[] => [...spawnSync("pgrep", ["-f", "x-pci-proxy-dev"], { encoding: "utf8" }).stdout.split("\n").filter((line) => line !== ""), ...readdirSync("/dev/shm").filter((name) => name.startsWith("iommu-lab-"))];

/** The kernel's own words that translation and interrupt remapping are on. */
const ON = {
  intel: ["DMAR: Intel(R) Virtualization Technology for Directed I/O", "DMAR-IR: Enabled IRQ remapping in xapic mode"],
  amd: ["AMD-Vi: Extended features (", "AMD-Vi: Interrupt remapping enabled"],
} as const;
const CHECKS = [
  "every PCI device is in a group",
  "virtio-rng gives bytes",
  "virtio-blk writes and reads 64 MiB",
  "virtio-console takes a line",
  "interrupts of virtio0-input arrive",
  "interrupts of virtio1-req.0 arrive",
  "interrupts of virtio2-output arrive",
];
const VFIO = ["vfio-pci moves a message to edu and back", "edu's interrupt reaches an eventfd", "a write to where nothing is mapped is refused", "the kernel tells of that fault"];
/** The message and the reason of the deliberate fault, as each kernel tells it. */
const FAULT = { intel: /DMAR: \[DMA Write NO_PASID\] Request device \[00:08\.0\] fault addr 0x123456000 \[fault reason 0x(05|79)\]/, amd: /0000:00:08\.0: AMD-Vi: Event logged \[IO_PAGE_FAULT domain=0x[0-9a-f]+ address=0x123456000 flags=0x[0-9a-f]+\]/ } as const;

const CASES: readonly { readonly vendor: "intel" | "amd"; readonly options: string; readonly more?: readonly string[]; readonly always?: boolean }[] = [
  { vendor: "intel", options: "", always: true },
  { vendor: "amd", options: "", always: true },
  { vendor: "intel", options: ",caches=adversarial" },
  { vendor: "intel", options: ",caches=none,superpages=off" },
  { vendor: "intel", options: ",caching-mode=on,caches=adversarial" },
  { vendor: "intel", options: ",levels=5" },
  { vendor: "intel", options: ",intremap=off" },
  { vendor: "amd", options: ",caches=adversarial" },
  { vendor: "amd", options: ",caches=none" },
  { vendor: "amd", options: ",caching-mode=on" },
  { vendor: "amd", options: ",intremap=off" },
  { vendor: "intel", options: ",scalable=on,caches=adversarial", more: ["--suite", "bookworm-backports"] },
  { vendor: "amd", options: ",scalable=on", more: ["--suite", "bookworm-backports"] },
];

describe.skipIf(!installed)("a Debian kernel", () => {
  for (const { vendor, options, more = [], always = false } of CASES)
    test.runIf(always || full)(`${vendor}${options} ${more.join(" ")}`, () => {
      const { status, console, errors } = boot("--iommu", `${vendor}${options}`, ...more);
      const remapped = !options.includes("intremap=off");
      expect(errors).not.toContain("unknown register");
      for (const line of remapped ? ON[vendor] : ON[vendor].slice(0, 1)) expect(console).toContain(line);
      expect([...console.matchAll(/IOMMU-LAB: ok: (.*?)\r?$/gm)].map(([, name]) => name)).toEqual(remapped ? [...CHECKS, ...VFIO] : CHECKS);
      if (remapped) expect(console).toMatch(FAULT[vendor]);
      expect({ status, said: errors.split("\n").filter((line) => line.startsWith("Not as")) }).toEqual({ status: 0, said: [] });
      // Twice 64 MiB and the rest of it went through the IOMMU.
      expect(Number(/(\d+) translations/.exec(errors.trimEnd().split("\n").at(-1) ?? "")?.[1])).toBeGreaterThan(32_768);
    });

  test("what happened is a trace that replays without a mismatch", { skip: !full }, () => {
    const folder = mkdtempSync(join(tmpdir(), "iommu-trace-"));
    try {
      for (const vendor of ["intel", "amd"]) {
        const trace = join(folder, `${vendor}.jsonl.gz`);
        boot("--iommu", vendor, "--machine-trace", trace);
        const { status, stdout } = spawnSync(process.execPath, [...command, "replay", trace, "--json"], { encoding: "utf8", maxBuffer: 2 ** 26 });
        const { totals } = JSON.parse(stdout) as { totals: { compared: number; skipped: number; mismatches: number } };
        expect(totals).toMatchObject({ skipped: 0, mismatches: 0 });
        expect(totals.compared).toBeGreaterThan(30_000);
        expect(status).toBe(0);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("the driver gets over a device-TLB that does not answer, and says so", { skip: !full }, () => {
    const { status, console, errors } = boot("--inject-fault", "device-tlb-timeout,after=60");
    expect(errors).toContain("injected device-tlb-timeout");
    expect(console).toContain("DMAR: VT-d detected Invalidation Time-out Error: SID fff8");
    expect(status).toBe(0);
  });

  test("an invalidation that is corrupted is told by the driver", { skip: !full }, () => {
    const { console } = boot("--inject-fault", "corrupt-descriptor,after=50");
    expect(console).toContain("DMAR: VT-d detected Invalidation Queue Error");
  });

  test("with a terminal there is a shell; when it is left, the guest powers off", { skip: !full }, async () => {
    // script(1) gives it a terminal.
    const terminal = spawn("script", ["-qefc", [process.execPath, ...command, "boot"].map((word) => `'${word}'`).join(" "), "/dev/null"], { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, TERM: "dumb" } });
    let seen = "";
    let typed = 0;
    terminal.stdout.on("data", (bytes: Buffer) => {
      seen += bytes.toString("latin1");
      // A prompt may be followed by a question to the terminal where its cursor is.
      if (typed === 0 && /[/~] # /.test(seen)) {
        typed = 1;
        terminal.stdin.write("echo the-answer-is-$((6*7)); ls /sys/class/iommu\r");
      } else if (typed === 1 && /the-answer-is-42[^]*[/~] # /.test(seen)) {
        typed = 2;
        terminal.stdin.write("exit\r");
      }
    });
    const status = await new Promise<number | null>((resolve) => terminal.on("close", resolve));
    expect(seen).toMatch(/the-answer-is-42\s+dmar0/);
    expect([typed, status]).toEqual([2, 0]);
  });

  test("killed, it leaves nothing behind", async () => {
    const before = leftovers();
    const guest = spawn(process.execPath, [...command, "boot"], { stdio: ["ignore", "pipe", "ignore"] });
    await new Promise((resolve) => guest.stdout.once("data", resolve));
    expect(leftovers().length).toBeGreaterThan(before.length);
    guest.kill("SIGKILL");
    await new Promise((resolve) => guest.once("close", resolve));
    // The kernel delivers QEMU's own end with ours; it may take it a moment to be gone.
    for (let i = 0; i < 100 && leftovers().length > before.length; i++) await new Promise((resolve) => setTimeout(resolve, 100));
    expect(leftovers()).toEqual(before);
  });

  test("a guest that does not end in time is stopped: exit 124", () => {
    const { status, stderr } = spawnSync(process.execPath, [...command, "boot", "--timeout", "3"], { encoding: "utf8" });
    expect(stderr).toContain("did not power off in time");
    expect(status).toBe(124);
  });
});
