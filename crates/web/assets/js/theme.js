// Runs before the first paint (a classic script in <head>), so that a chosen theme does not flash the other one.
(function () {
  var theme = null;
  try { theme = localStorage.getItem('mwan.theme'); } catch (e) { /* storage is switched off: the system's theme */ }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
