"""Triangle meshes: how they hang together, what is wrong with them, and what lies closest.

clean              everything below in its order: a raw mesh without its faults, its shape unchanged
topology           edges, components, borders
twins              which faces belong together at an edge of more than two
split              a mesh becomes two-manifold
holes              loops of border edges, closed by faces
orient             winding, alike within a component and outward
dust               which components are dust
closest            closest points, exactly, for millions of questions
closest_exact      the same with numpy and scipy alone
closest_warp       the same with Warp
crossings          faces that cross each other
kernels            Warp kernels of edges, corners and places
crossing_kernels   Warp kernels that find these
group_kernels      Warp kernels that find what hangs together
"""
