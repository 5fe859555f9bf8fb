// @ts-check
// A list of which several pages are shown, when its first page was read again.

/**
 * The items to show: the first page as it is now, then what stood on the further pages.
 * Items that newer ones pushed off the first page stay; the others that are missing from it are gone.
 * @template {{ id: string }} T
 * @param {T[]} items what is shown now
 * @param {number} firstCount how many of them are the first page
 * @param {T[]} fresh the first page as it is now
 * @returns {T[]}
 */
export function mergedPages(items, firstCount, fresh) {
  const now = new Set(fresh.map((one) => one.id));
  if (items.length <= firstCount) return fresh;
  const before = new Set(items.map((one) => one.id));
  const added = fresh.filter((one) => !before.has(one.id)).length;
  const missing = items.slice(0, firstCount).filter((one) => !now.has(one.id));
  const pushed = missing.slice(Math.max(0, missing.length - added));
  return [...fresh, ...pushed, ...items.slice(firstCount).filter((one) => !now.has(one.id))];
}
