/** Where the program is loaded, where it keeps the record at hand, and where its arena is for whoever writes the script. */
const LOAD = 0x40_0000;
const HEADERS = 64 + 56;
const RECORD = 0x40_1000;
const ARENA = 0x50_0000;
const ARENA_BYTES = 0x10_0000;
/** Number, mask, destination and six arguments. */
const RECORD_WORDS = 9;

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

/** Machine code with jumps by label. */
const assemble = (lines: readonly (readonly number[] | string | { readonly jump: number; readonly to: string })[]): Uint8Array => {
  const labels = new Map<string, number>();
  let at = 0;
  for (const line of lines)
    if (typeof line === "string") labels.set(line, at);
    else at += "jump" in line ? 2 : line.length;
  const code: number[] = [];
  for (const line of lines) {
    if (typeof line === "string") continue;
    if ("jump" in line) code.push(line.jump, ((labels.get(line.to) ?? Number.NaN) - code.length - 2) & 0xff);
    else code.push(...line);
  }
  return Uint8Array.from(code);
};

const SYSCALL = [0x0f, 0x05];
const [JZ, JNZ, JNC, JMP] = [0x74, 0x75, 0x73, 0xeb];

/** Reads records from standard input and does the system call that each says, until they end. */
const CODE = assemble([
  [0x41, 0xbc, ...word(RECORD)], // mov r12d, RECORD
  "next",
  [0x31, 0xc0, 0x31, 0xff], // read(0,
  [0x4c, 0x89, 0xe6], // r12,
  [0xba, ...word(8 * RECORD_WORDS)], // 72)
  SYSCALL,
  [0x83, 0xf8, 8 * RECORD_WORDS], // cmp eax, 72
  { jump: JNZ, to: "end" },
  [0x49, 0x8b, 0x5c, 0x24, 0x08], // mov rbx, [r12 + 8]: the mask
  [0x4d, 0x8d, 0x6c, 0x24, 0x18], // lea r13, [r12 + 24]: the arguments
  [0xb9, ...word(6)], // mov ecx, 6
  "argument",
  [0x48, 0xd1, 0xeb], // shr rbx, 1
  { jump: JNC, to: "literal" },
  [0x49, 0x8b, 0x45, 0x00, 0x48, 0x8b, 0x00, 0x49, 0x89, 0x45, 0x00], // the argument is what it points to
  "literal",
  [0x49, 0x83, 0xc5, 0x08], // add r13, 8
  [0xff, 0xc9], // dec ecx
  { jump: JNZ, to: "argument" },
  [0x49, 0x8b, 0x04, 0x24], // mov rax, [r12]: the number
  [0x49, 0x8b, 0x7c, 0x24, 0x18], // rdi
  [0x49, 0x8b, 0x74, 0x24, 0x20], // rsi
  [0x49, 0x8b, 0x54, 0x24, 0x28], // rdx
  [0x4d, 0x8b, 0x54, 0x24, 0x30], // r10
  [0x4d, 0x8b, 0x44, 0x24, 0x38], // r8
  [0x4d, 0x8b, 0x4c, 0x24, 0x40], // r9
  SYSCALL,
  [0x49, 0x8b, 0x5c, 0x24, 0x10], // mov rbx, [r12 + 16]: where the result goes
  [0x48, 0x85, 0xdb], // test rbx, rbx
  { jump: JZ, to: "next" },
  [0x48, 0x89, 0x03], // mov [rbx], rax
  { jump: JMP, to: "next" },
  "end",
  [0xb8, ...word(60), 0x31, 0xff], // exit(0)
  SYSCALL,
]);

/** A Linux program for x86-64, of one segment and without libraries, that does the system calls of a script. ELF-64, System V ABI. */
export const syscallProgram = (): Uint8Array => {
  const file = new Uint8Array(HEADERS + CODE.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELF, 64 bits, little-endian, version 1
  view.setUint16(16, 2, true); // an executable
  view.setUint16(18, 62, true); // x86-64
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(LOAD + HEADERS), true); // entry
  view.setBigUint64(32, 64n, true); // program headers
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true); // PT_LOAD
  view.setUint32(68, 7, true); // readable, writable, executable
  view.setBigUint64(80, BigInt(LOAD), true);
  view.setBigUint64(88, BigInt(LOAD), true);
  view.setBigUint64(96, BigInt(file.length), true);
  view.setBigUint64(104, BigInt(ARENA + ARENA_BYTES - LOAD), true);
  view.setBigUint64(112, 0x1000n, true);
  file.set(CODE, HEADERS);
  return file;
};

/** What another argument's place holds, to be used once the calls before have put it there. */
export interface Indirect {
  readonly at: number;
}

/** A script of system calls. Memory is the arena; what a call gives back can be an argument of later ones. */
export class SyscallScript {
  readonly #parts: Uint8Array[] = [];
  #free = ARENA;

  /** Room in the arena, page-aligned where a page or more is wanted; zero at first. */
  room(bytes: number): number {
    const grain = bytes >= 0x1000 ? 0x1000 : 8;
    const at = Math.ceil(this.#free / grain) * grain;
    this.#free = at + bytes;
    if (this.#free > ARENA + ARENA_BYTES) throw new RangeError(`The arena has ${ARENA_BYTES} bytes; ${this.#free - ARENA} are wanted.`);
    return at;
  }

  /** A system call by number; at most six arguments. @returns where its result will be */
  call(number: number, ...args: readonly (number | bigint | Indirect)[]): Indirect {
    return this.callInto(this.room(8), number, ...args);
  }

  /** The same, with the place of its result: 8 bytes. */
  callInto(result: number, number: number, ...args: readonly (number | bigint | Indirect)[]): Indirect {
    this.#record(number, result, args);
    return { at: result };
  }

  /** Bytes in the arena, put there when the script comes to this. @returns their address */
  data(bytes: Uint8Array): number {
    const at = this.room(bytes.length);
    this.put(at, bytes);
    return at;
  }

  /** Puts bytes at an address. */
  put(at: number, bytes: Uint8Array): void {
    this.#record(0, 0, [0, at, bytes.length]);
    this.#parts.push(bytes);
  }

  text(text: string): number {
    return this.data(Buffer.from(`${text}\0`, "latin1"));
  }

  /** What the program is to read. */
  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }

  #record(number: number, destination: number, args: readonly (number | bigint | Indirect)[]): void {
    const record = new BigUint64Array(RECORD_WORDS);
    record[0] = BigInt(number);
    record[2] = BigInt(destination);
    for (const [i, argument] of args.entries()) {
      const indirect = typeof argument === "object";
      if (indirect) record[1] = (record[1] as bigint) | (1n << BigInt(i)); // nine words
      record[3 + i] = BigInt(indirect ? argument.at : argument);
    }
    this.#parts.push(new Uint8Array(record.buffer));
  }
}
