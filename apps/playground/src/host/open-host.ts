import { SnapshotError, toBytes, type HostSnapshot } from "@iommu-lab/host";
import { readBundled } from "@iommu-lab/host/bundled";
import { gatherHost, piecesOfBytes, piecesOfFile, type GuestDomain, type Piece } from "@iommu-lab/host/doctor";
import { unpack } from "./unpack.ts";

/** One thing that was given, and what it turned out to be. */
interface GivenPiece {
  readonly label: string;
  /** In the recogniser's words; none: nothing known. */
  readonly kinds: readonly string[];
  /** Why it could not be read. */
  readonly problem?: string;
}

/** The machine that is looked at. */
export interface OpenedHost {
  readonly snapshot: HostSnapshot;
  /** How many more machines the input tells of. */
  readonly others: number;
  readonly guests: readonly GuestDomain[];
  readonly given: readonly GivenPiece[];
  readonly recognised: readonly string[];
}

/** A file that was dropped. */
export interface GivenFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const kindsOf = (pieces: readonly Piece[]): string[] => [...new Set(gatherHost("", pieces).recognised)];

const opened = (pieces: readonly Piece[], given: readonly GivenPiece[]): OpenedHost => {
  const { snapshots, guests, recognised } = gatherHost(given.map(({ label }) => label).join(" and "), pieces);
  return { snapshot: snapshots[0]!, others: snapshots.length - 1, guests, given, recognised };
};

type Judged = readonly [given: GivenPiece, pieces: readonly Piece[]];

const judged = (label: string, pieces: readonly Piece[]): Judged => [{ label, kinds: kindsOf(pieces) }, pieces];
const refused = (label: string, error: unknown): Judged => {
  if (!(error instanceof SnapshotError)) throw error;
  return [{ label, kinds: [], problem: error.message }, []];
};

const judgeText = (text: string, i: number): Judged => {
  const label = `paste ${i + 1}`;
  try {
    return judged(label, piecesOfFile(label, toBytes(text)));
  } catch (error) {
    return refused(label, error);
  }
};

const judgeFile = async ({ name, bytes }: GivenFile): Promise<Judged> => {
  try {
    return judged(name, await piecesOfBytes(name, await unpack(name, bytes)));
  } catch (error) {
    return refused(name, error);
  }
};

const joined = (all: readonly Judged[]): OpenedHost => opened(all.flatMap(([, pieces]) => pieces), all.map(([given]) => given));

/** A host that comes along. @throws RangeError when there is none of that name */
export const openBundled = (name: string): OpenedHost => ({ snapshot: readBundled(name), others: 0, guests: [], given: [], recognised: [] });

/** One machine out of pasted texts. Never throws. */
export const openTexts = (texts: readonly string[]): OpenedHost => joined(texts.map(judgeText));

/** One machine out of pasted texts and files. Never rejects. */
export const openPieces = async (texts: readonly string[], files: readonly GivenFile[]): Promise<OpenedHost> => joined([...texts.map(judgeText), ...(await Promise.all(files.map(judgeFile)))]);
