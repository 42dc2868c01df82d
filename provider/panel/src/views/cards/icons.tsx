/** The hub's icons, drawn in the colour of the text beside them. What they mean stands on their buttons. */

const PATHS = {
  archive: 'M3 5h14v3H3zM4.5 8v8h11V8M8 11h4',
  back: 'M12 4l-6 6 6 6',
  cards: 'M3 6h11v9H3zM6 6V4h11v8h-3',
  close: 'M5 5l10 10M15 5L5 15',
  edit: 'M4 16l1-4 8-8 3 3-8 8zM11.5 5.5l3 3',
  pin: 'M7 3h6l-1 5 3 3H5l3-3zM10 11v6',
  refer: 'M9 5h6v6M15 5l-9 9M4 8v8h8',
} as const;

export function Icon({ of }: { of: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false">
      <path
        d={PATHS[of]}
        fill="none"
        stroke="currentColor"
        stroke-width="1.6"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}

/** A button that shows an icon; its name is for readers, and on hover. */
export function IconButton({
  of,
  name,
  act,
  pressed,
  id,
}: {
  of: keyof typeof PATHS;
  name: string;
  act: () => void;
  pressed?: boolean;
  id?: string;
}) {
  return (
    <button
      type="button"
      class="iconic"
      id={id}
      title={name}
      aria-label={name}
      aria-pressed={pressed}
      onClick={(event) => {
        event.stopPropagation();
        act();
      }}
    >
      <Icon of={of} />
    </button>
  );
}
