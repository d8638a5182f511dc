import * as v from "valibot";

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const hexadecimal = v.pipe(v.string(), v.regex(/^0x[0-9a-f]{1,16}$/, 'A number of up to 64 bits is text: "0xfee00000".'));
const address = v.pipe(v.string(), v.regex(/^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/, 'A function is text: "0000:01:00.0".'));
/** Which machine, as a number from 0 in the order of the "machine" events, and nanoseconds of its clock. */
const when = { machine: count, t: count } as const;
const plain = v.unknown();
/** Legacy VGA ranges. */
const ranges = v.picklist(["none", "io", "mem", "io+mem"]);

const assertion = { id: v.string(), protected: v.boolean(), expected: plain, actual: plain, ok: v.boolean() } as const;

const interruptSchema = v.strictObject({ vector: count, destination: count, destinationMode: v.picklist(["physical", "logical"]), deliveryMode: count, trigger: v.picklist(["edge", "level"]) });

/** What each kind of event tells. */
const eventShapes = [
  v.strictObject({ kind: v.literal("machine"), machine: count, name: v.string(), description: v.record(v.string(), v.unknown()) }),
  v.strictObject({ kind: v.literal("say"), text: v.string() }),
  v.strictObject({ kind: v.literal("check"), ...assertion }),
  /** A station of a request: "root" or the function that decided. */
  v.strictObject({ kind: v.literal("hop"), ...when, at: v.union([v.literal("root"), address]), what: v.string(), decision: v.string(), rule: v.string() }),
  /** A memory request that has ended, of at most one page; `hpa` where it led, unless it was refused on the way. */
  v.strictObject({ kind: v.literal("dma"), ...when, from: address, iova: hexadecimal, length: count, write: v.boolean(), completion: v.picklist(["successful-completion", "unsupported-request", "completer-abort"]), hpa: v.nullable(hexadecimal) }),
  /** A message that came to the root complex, from the requester ID it carries. */
  v.strictObject({ kind: v.literal("interrupt"), ...when, from: address, address: hexadecimal, data: hexadecimal, outcome: v.picklist(["delivered", "posted", "blocked"]), interrupt: v.exactOptional(interruptSchema), posted: v.exactOptional(v.strictObject({ structure: hexadecimal, vector: count, notification: v.picklist(["none", "interrupt", "doorbell", "log"]) })) }),
  v.strictObject({ kind: v.literal("fault"), ...when, requester: address, address: hexadecimal, access: v.picklist(["read", "write", "execute", "interrupt", "unknown"]), code: hexadecimal, text: v.string() }),
  v.strictObject({ kind: v.literal("map"), ...when, domain: count, iova: hexadecimal, hpa: hexadecimal, size: hexadecimal, read: v.boolean(), write: v.boolean() }),
  v.strictObject({ kind: v.literal("unmap"), ...when, domain: count, iova: hexadecimal, size: hexadecimal, unmapped: hexadecimal }),
  v.strictObject({ kind: v.literal("exit"), ...when, vm: v.string(), reason: v.string(), handledIn: v.picklist(["kernel", "user"]) }),
  /** What the VGA arbiter knows, whenever it has changed; `waiting` are those who wait for another's lock. */
  v.strictObject({ kind: v.literal("vga"), ...when, devices: v.array(v.strictObject({ at: address, decodes: ranges, owns: ranges, locks: ranges })), waiting: v.array(address) }),
  v.strictObject({ kind: v.literal("config-write"), ...when, at: address, offset: count, size: v.picklist([1, 2, 4]), value: hexadecimal }),
] as const;

/** One thing that happened in a run. */
export const runEventSchema = v.variant("kind", eventShapes, "An event has a kind that this version knows.");
/** One thing that happened in a run, as the event file has it. */
export type RunEvent = v.InferOutput<typeof runEventSchema>;

const counts = v.record(v.string(), v.pipe(v.number(), v.safeInteger()));

/** What a run came to. */
const runResultSchema = v.strictObject({
  scenario: v.string(),
  iommu: v.picklist(["intel", "amd"]),
  seed: count,
  assertions: v.array(v.strictObject(assertion)),
  counts,
  faults: v.array(v.strictObject({ machine: v.string(), requester: address, address: hexadecimal, access: v.picklist(["read", "write", "execute", "interrupt", "unknown"]), code: hexadecimal, text: v.string() })),
  times: v.exactOptional(v.strictObject({ model: v.string(), parameters: counts, values: counts })),
  without: v.exactOptional(v.array(v.string())),
  hash: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "A hash is 64 hexadecimal digits.")),
});

/** The first line of an event file. */
export const RUN_FORMAT = { format: "iommu-lab-run", version: 1 } as const;
export const runFormatSchema = v.strictObject({ format: v.literal(RUN_FORMAT.format, 'An event file begins with "format": "iommu-lab-run".'), version: v.literal(RUN_FORMAT.version, "This is version 1 of the format.") });

/** The last line. */
export const runEndSchema = v.strictObject({ kind: v.literal("result"), result: runResultSchema });

/** Any line of an event file. */
export const runLineSchema = v.union([runFormatSchema, runEventSchema, runEndSchema]);
