use udx as _;
