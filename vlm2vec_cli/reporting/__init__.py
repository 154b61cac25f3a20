"""Score rows in, what people and build servers read out.

    collect, published   rows and named published scores -> columns of cells
    layout               tasks in their groups, the means the paper prints
    results              the report as data: columns, tasks, means, differences, checks
    paired, gate         paired tests, thresholds
    formats/             one output format a file: report -> text
    page/                the parts of the HTML page

Every value is a fraction in 0..1 until a format prints it; people see percent, programs the full number.
"""
