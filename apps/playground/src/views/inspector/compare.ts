import { valueText } from "./fields.ts";
import type { Item, Opened } from "./inspect.ts";

/** A field that two items do not have alike. */
export interface Difference {
  readonly id: string;
  readonly name: string;
  /** Absent: only the other has it. */
  readonly here: string | undefined;
  readonly there: string | undefined;
}

interface Side {
  readonly item: Item;
  readonly opened: Opened;
}
const values = ({ item, opened }: Side): Map<string, { readonly name: string; readonly value: string }> => new Map(opened.nodes.filter(({ heading }) => !heading).map((node) => [node.id, { name: node.name, value: valueText(item.bytes, node) }]));

/** Fields that differ, in the order of the first. */
export const compareItems = (a: Side, b: Side): Difference[] => {
  const [here, there] = [values(a), values(b)];
  return [...new Set([...here.keys(), ...there.keys()])].flatMap((id) => {
    const [mine, other] = [here.get(id), there.get(id)];
    return mine?.value === other?.value ? [] : [{ id, name: (mine ?? other)?.name ?? id, here: mine?.value, there: other?.value }];
  });
};
