// Tables inside of <div class="sortable">: a click on a head sorts, a field filters.
document.querySelectorAll('.sortable table').forEach((table) => {
  table.classList.add('sortable');
  const body = table.tBodies[0];
  const value = (row, column) => row.cells[column].textContent.trim();
  const number = (text) => Number(text.replace(/,/g, ''));
  const sort = (head, column) => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    table.querySelectorAll('th').forEach((one) => one.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const rows = [...body.rows];
    const numeric = rows.every((row) => !Number.isNaN(number(value(row, column))));
    rows.sort((one, other) => {
      const [a, b] = [value(one, column), value(other, column)];
      const order = numeric ? number(a) - number(b) : a.localeCompare(b);
      return down ? -order : order;
    });
    body.append(...rows);
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.tabIndex = 0;
    head.addEventListener('click', () => sort(head, column));
    head.addEventListener('keydown', (event) => event.key === 'Enter' && sort(head, column));
  });
  const filter = document.createElement('input');
  filter.type = 'search';
  filter.className = 'filter';
  filter.placeholder = 'words that a row has, such as: scsa imagenet';
  filter.setAttribute('aria-label', 'Filter the rows of the table');
  filter.addEventListener('input', () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
  (table.closest('.table-wrapper') || table).before(filter);
});
